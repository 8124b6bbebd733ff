"""Browser behaviour of a login: cookies, forms, redirects. Requests go only to addresses that the settings name."""
# Decision 0110.

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from runner.clock import Clock, Deadline
from runner.errors import ContractError, StrayAnswer, UsageError
from runner.events.observer import Observer
from runner.external import raw, show
from runner.http.client import Client
from runner.http.messages import PreparedRequest, Response, prepare
from runner.profile import template
from runner.profile.auth_models import Auth, StepRequest
from runner.profile.parts import Request

if TYPE_CHECKING:
    from runner.auth.cookies import Jar
    from runner.profile.html import Form

MAX_REDIRECTS = 10  # in a row; browsers follow 20
Gate = Callable[[dict[str, str], str], dict[str, str]]  # the headers of a request to a target, with the gateway's
API = "api"  # the name of base_url for requests of a login


class Browser:
    """State of one login, or of one request about its session: the current URL and the cookies."""

    def __init__(
        self,
        auth: Auth,
        client: Client,
        named: Mapping[str, Client],
        clock: Clock,
        kept: str | None = None,
        gate: tuple[str, Gate] | None = None,
    ) -> None:
        """`client` serves the login's own address, the `named` ones other addresses; `kept` are the session's cookies.

        Requests to the address of the `gate` get its headers."""
        self._gate = gate
        self._client, self._named, self._clock = client, named, clock
        self._assertion_of = auth.assertion
        self.skew = 0.0  # seconds that the server's clock is ahead, if known
        self.jar = _jar(kept) if auth.cookies else None
        self._cookie_values = auth.cookie_values
        self._page: Response | None = None
        self._forms: dict[str, Form] = {}  # of the page, by selector: each is parsed once
        self._url = ""  # of the last response
        self.moved = False  # whether the last exchange followed a redirect or got a cookie

    def client(self, request: Request, values: Mapping[str, Any]) -> Client:
        """Returns the client for a request's address. Raises UsageError for a named address that the settings lack."""
        if isinstance(request, StepRequest) and request.submit is not None:
            return self._goes_to(self._form(request.submit, values).action)[0]
        if request.at is None:
            return self._client
        if request.at not in self._named:
            raise UsageError(f"login.addresses.{request.at}: a request of this login needs this address; set it")
        return self._named[request.at]

    def prepared(self, endpoint: str, request: Request, values: Mapping[str, Any]) -> PreparedRequest:
        """Returns the request, ready to send. Raises as `prepare`, and ContractError where the page lacks the form."""
        values = {**values, **self._of_cookies(request, values)} if self._cookie_values else values
        if any(name == "client_assertion" for name, _optional, _place in template.names(vars(request))):
            values = {**values, "client_assertion": self._assertion(request, values)}
        if not isinstance(request, StepRequest) or request.submit is None:
            return prepare(endpoint, request, values)
        form = self._form(request.submit, values)
        own = Request.model_construct(path="/", form=request.form or {}, headers=request.headers, query={}, json_=None)
        filled = prepare(endpoint, own, values)
        given = {name for name, _ in parse_qsl((filled.body or b"").decode(), keep_blank_values=True)}
        hidden = urlencode([(name, value) for name, value in form.fields.items() if name not in given]).encode()
        body = b"&".join(part for part in (hidden, filled.body) if part)
        target = self._goes_to(form.action)[1]
        if form.method == "POST":
            return replace(filled, method="POST", target=target, body=body)
        headers = {name: value for name, value in filled.headers.items() if name != "Content-Type"}
        return replace(filled, target=f"{target.partition('?')[0]}?{body.decode()}", headers=headers, body=None)

    def _of_cookies(self, request: Request, values: Mapping[str, Any]) -> dict[str, str]:
        """Returns the values of cookies that the request may use, as they are now."""
        if self.jar is None:
            return {}
        client = self.client(request, values)
        return self.jar.values(client.address + (request.path or "/"), self._clock.time(), self._cookie_values)

    def _assertion(self, request: Request, values: Mapping[str, Any]) -> str:
        from runner.auth.assertion import client_assertion

        how = template.fill(self._assertion_of.model_dump(exclude_none=True), values) or {}
        path = prepare(
            "login", Request.model_construct(path=request.path, query={}, headers={}, form=None, json_=None), values
        )
        audience = how.get("audience") or self.client(request, values).address + path.target
        return client_assertion(
            values["client_id"], values["client_key"], audience, self._clock.time() + self.skew, how.get("key_id")
        )

    def has_form(self, submit: str, values: Mapping[str, Any]) -> bool:
        """Whether the last page has the form that a later step submits."""
        try:
            self._form(submit, values)
        except ContractError:
            return False
        return True

    def _form(self, submit: str, values: Mapping[str, Any]) -> "Form":
        from runner.profile import html

        selector = html.selector(submit, values)
        if selector not in self._forms:
            form = html.form(self._page.text, selector) if self._page and self._page.text else None
            if form is None:
                raise ContractError(
                    f"login: the page has no form that matches `{selector}`; has the sign-in page changed?"
                )
            self._forms[selector] = form
        return self._forms[selector]

    def _goes_to(self, url: str) -> tuple[Client, str]:
        """Returns the client for the address, relative to the current URL, and the target there.

        Raises StrayAnswer for an address that is not named, and ContractError for an invalid one."""
        try:
            parts = urlsplit(urljoin(self._url, url))
            origin = _origin(parts)
        except ValueError:
            raise ContractError(f"login: the next URL {show(url, 100)} is invalid") from None
        for client in (self._client, *self._named.values()):
            base = urlsplit(client.address)
            prefix = base.path.rstrip("/")
            if _origin(base) == origin and (parts.path == prefix or parts.path.startswith(prefix + "/")):
                target = parts.path.removeprefix(prefix) or "/"
                return client, f"{target}?{parts.query}" if parts.query else target
        raise StrayAnswer(
            f"login: the next URL is at {show(parts.netloc, 100)}, which is not an address of this login; if it is "
            "correct, add it to `login.addresses`"
        )

    async def exchange(
        self,
        request: Request,
        call: PreparedRequest,
        client: Client,
        attempt: int,
        deadline: Deadline,
        observer: Observer,
        means: Callable[[Response], bool],
    ) -> Response:
        """Sends the request and follows redirects where it asks for that; `means` marks a response to stop at.

        Raises what a client raises, and StrayAnswer for a redirect to an address that is not named."""
        self.moved = False
        answer = await self._one(client, call, attempt, deadline, observer)
        if not isinstance(request, StepRequest) or not request.follow:
            return answer
        for _ in range(MAX_REDIRECTS):
            if not 300 <= answer.status < 400 or means(answer):
                return answer
            client, call = self._next(answer, call)
            self.moved = True
            answer = await self._one(client, call, attempt, deadline, observer)
        raise ContractError(
            f"login: more than {MAX_REDIRECTS} redirects in a row; check `login.addresses` and the profile's first login step"
        )

    def _next(self, answer: Response, call: PreparedRequest) -> tuple[Client, PreparedRequest]:
        """Returns the request of a redirect: a GET, without the earlier body and headers (RFC 9110, 15.4)."""
        where = raw(answer.headers.get("location", ""))
        if not where or (answer.status in (307, 308) and call.method != "GET"):
            raise ContractError(f"login: the redirect {answer.status} cannot be followed")
        client, target = self._goes_to(where)
        kept = {name: value for name, value in call.headers.items() if name.lower() in ("accept", "accept-language")}
        return client, replace(call, method="GET", target=target, headers=kept, body=None)

    async def _one(
        self, client: Client, call: PreparedRequest, attempt: int, deadline: Deadline, observer: Observer
    ) -> Response:
        url = client.address + call.target
        if self.jar is not None:
            call = replace(call, headers=with_cookies(call.headers, self.jar.header(url, self._clock.time())))
        if self._gate is not None and client.address == self._gate[0]:
            call = replace(call, headers=self._gate[1](dict(call.headers), call.target))
        answer = await client.exchange(call, attempt, deadline, observer)
        if self.jar is not None:
            self.moved = self.moved or bool(answer.set_cookies)
            answer = self._remembered(self.jar, answer, url)
        self._page, self._url, self._forms = answer, url, {}
        return answer

    def _remembered(self, jar: "Jar", answer: Response, url: str) -> Response:
        """Returns the response with all cookies that are now known for its address."""
        now = self._clock.time()
        jar.take(url, answer.set_cookies, now)
        known = jar.sent_to(url, now)
        return replace(
            answer,
            cookies={one.name: one.value for one in reversed(known)},
            cookie_ends={one.name: one.expires for one in known if one.expires is not None},
        )


def _jar(kept: str | None) -> "Jar":
    from runner.auth.cookies import Jar

    return Jar(kept)


def with_cookies(headers: Mapping[str, str], cookies: str | None) -> dict[str, str]:
    """Returns the headers with these cookies added to existing ones."""
    if cookies is None:
        return dict(headers)
    own = next((value for name, value in headers.items() if name.lower() == "cookie"), None)
    rest = {name: value for name, value in headers.items() if name.lower() != "cookie"}
    return {**rest, "Cookie": cookies if own is None else f"{own}; {cookies}"}


def _origin(parts: Any) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
