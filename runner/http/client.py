"""Sends one request and returns one checked response, within limits of time and size. Knows no API.

Redirects are never followed (a 307 would send a password elsewhere), responses are bounded in bytes before and after
decoding, and no error text carries a URL's query, a header or a body.
"""
# Decision 0052.

import asyncio
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner import __version__
from runner.clock import Clock, Deadline
from runner.errors import ContractError, DeadlineExceeded, RunnerError, Unreachable, UsageError
from runner.events import events
from runner.events.observer import Observer
from runner.external import ExternalText, raw
from runner.http import body, failures, retry
from runner.http.budget import DOWN_SECONDS, Budget
from runner.http.certificates import trusting
from runner.http.messages import PreparedRequest, Response, cookies, headers_of, in_http
from runner.http.proxies import Proxy
from runner.http.retry import Policy, Safety
from runner.http.server_time import ServerTime
from runner.http.tries import Tries
from runner.models import JSON
from runner.profile import extraction
from runner.profile.models import Errors
from runner.url import is_loopback

if TYPE_CHECKING:
    import httpx

    from runner.http.connections import Connection

CONNECT_SECONDS = 10.0
ACCEPT = {"Accept": "application/json", "Accept-Encoding": "gzip"}


def check_base_url(base_url: str, *, allow_http: bool) -> None:
    """Raises UsageError for plain http to another machine, unless a setting allows it."""
    parts = urlsplit(base_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not allow_http:
        raise UsageError(
            f"base_url: plain http to {parts.hostname} would send the password in the clear; "
            "use https, or set tls.allow_http (SYNC_RUNNER_TLS__ALLOW_HTTP=true) on a network you trust"
        )


def tls_context(base_url: str, ca_file: Path | None, *, and_public: bool = False) -> ssl.SSLContext:
    """TLS 1.2 or later, with the system's roots, `ca_file` or both. Raises UsageError where that file is unusable."""
    if urlsplit(base_url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; loading the roots would cost 20 ms
    try:
        context = trusting(ca_file, and_public=and_public)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"tls.ca_file: {ca_file}: cannot be used ({error.strerror or 'not a PEM bundle'})") from None
    paths = ssl.get_default_verify_paths()
    if (ca_file is None or and_public) and not (paths.cafile or paths.capath):
        import certifi

        context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Client:
    """Sends calls to one API with retries, over one pool of connections."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        policy: Policy,
        request_timeout: float,
        tls: ssl.SSLContext,
        headers: Mapping[str, str] | None = None,
        retries: float = 20.0,
        connections: int = 10,
        errors: Errors | None = None,
        proxy: Proxy | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """`request_timeout` in seconds limits one exchange. `retries` is the budget that all requests share, see `Budget`.
        There are at most `connections`; a request that waits for a free one spends none of its time. `errors` says how the
        API reports a rate limit, if not by HTTP's rules, and that it is starting. `meanwhile` is called once, while the
        response to the first request is pending. `transport` replaces the network.
        """
        from runner.http.connections import Connections

        self.budget = Budget(retries, clock.monotonic, down_seconds=max(DOWN_SECONDS, policy.connect_patience))
        self.tries = Tries(clock, policy, self.budget)
        self.server_time = ServerTime()
        self._base_url, self._clock, self._timeout = base_url, clock, request_timeout
        self._connections = Connections(
            connections,
            tls=tls,
            # Shorter than the whole: a request that times out here was certainly not sent and may be retried.
            connect_timeout=min(CONNECT_SECONDS, 0.8 * request_timeout),
            headers={"User-Agent": f"sync-runner/{__version__}", **ACCEPT, **(headers or {})},
            proxy=proxy.url if proxy else None,
            transport=transport,
        )
        self._proxy, self._errors = proxy, errors
        self.on_response: Callable[[str, Response], None] | None = None
        self.others: dict[str, Client] = {}  # clients of further addresses of the run, such as a login's own
        self._meanwhile: Callable[[], None] | None = meanwhile

    async def close(self) -> None:
        """Closes all connections, including those of the other clients."""
        for other in self.others.values():
            await other.close()
        await self._connections.close()

    async def send(self, call: PreparedRequest, *, safety: Safety, deadline: Deadline, observer: Observer) -> Response:
        """Sends `call`, and retries where the policy allows. Returns any status that is not retried.

        Raises Unreachable when no response arrived or the server kept failing, DeadlineExceeded when time ran out.
        """
        return await self.tries.repeat(
            call.endpoint,
            lambda attempt: self.exchange(call, attempt, deadline, observer),
            why=lambda failure: retry.reason(failure, safety),
            deadline=deadline,
            observer=observer,
        )

    async def exchange(self, call: PreparedRequest, attempt: int, deadline: Deadline, observer: Observer) -> Response:
        """One exchange, observed. Raises Unreachable, DeadlineExceeded or ContractError."""
        async with self._connections.lent(call.endpoint, deadline) as connection:
            return await self._observed(connection, call, attempt, deadline, observer)

    async def _observed(
        self, connection: "Connection", call: PreparedRequest, attempt: int, deadline: Deadline, observer: Observer
    ) -> Response:
        began = self._clock.monotonic()
        code, problem = "error", None
        try:
            answer = await self._bounded(connection, call, deadline)
            code = str(answer.status)
            self.server_time.note(answer)
            if self.on_response is not None:
                self.on_response(call.endpoint, answer)
            (self.budget.failed if retry.failure(answer.status) else self.budget.answered)()
            return answer
        except RunnerError as error:
            problem = str(error)
            if isinstance(error, Unreachable):
                self.budget.failed()
            raise
        finally:
            spent = round(self._clock.monotonic() - began, 6)
            observer.emit(events.RequestDone(call.endpoint, code, attempt, spent, problem))

    async def _bounded(self, connection: "Connection", call: PreparedRequest, deadline: Deadline) -> Response:
        import httpx

        seconds = min(self._timeout, deadline.remaining)
        if deadline.expired:
            raise DeadlineExceeded(f"{call.endpoint}: {deadline.what} passed")
        progress = _Progress(self._proxy is None, self._take_meanwhile)
        try:
            async with asyncio.timeout(seconds):
                return await self._receive(connection, call, progress)
        except TimeoutError:
            if deadline.expired:
                raise DeadlineExceeded(
                    f"{call.endpoint}: no complete response before {deadline.what} ended", sent=progress.left
                ) from None
            raise Unreachable(
                f"{call.endpoint}: no complete response within {seconds:g} s", sent=progress.left
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise failures.of_transport(error, call.endpoint, self._host, self._proxy, sent=progress.left) from None

    def _take_meanwhile(self) -> Callable[[], None] | None:
        meanwhile, self._meanwhile = self._meanwhile, None
        return meanwhile

    @property
    def address(self) -> str:
        """The client's base URL."""
        return self._base_url

    @property
    def _host(self) -> str:
        return urlsplit(self._base_url).netloc

    async def _receive(self, connection: "Connection", call: PreparedRequest, progress: "_Progress") -> Response:
        sent_at, left_at = self._clock.time(), self._clock.monotonic()
        url = self._base_url + call.target
        traced: dict[str, Any] = {"trace": progress.trace} if self._proxy or self._meanwhile else {}
        async with connection.stream(
            call.method, url, headers=dict(call.headers), content=call.body, extensions=traced
        ) as response:
            received_at = self._clock.time()
            headers = headers_of(response)
            value, is_json, text, cut = await self._body(response, headers, call)
        if response.status_code == 407 and self._proxy is not None:
            raise failures.proxy_login_refused(call.endpoint, self._proxy.shown)
        if 300 <= response.status_code < 400 and not call.takes_redirect:
            raise failures.redirected(call.endpoint, response.status_code)
        answer = Response(
            response.status_code, headers, value, is_json, sent_at, received_at, left_at, cookies(response), text,
            set_cookies=tuple(response.headers.get_list("set-cookie")) if "set-cookie" in headers else (),
            cut=cut,
        )  # fmt: skip
        if self._errors is None:
            return answer
        if extraction.fits(self._errors.starting, answer):
            raise failures.starting(call.endpoint, answer.status)
        return in_http(answer, self._errors.rate_limit)

    async def _body(
        self, response: "httpx.Response", headers: Mapping[str, ExternalText], call: PreparedRequest
    ) -> tuple[JSON, bool, str, bool]:
        """Returns the value, whether it is JSON, the text if not, and whether it was cut. A failing server need not send JSON."""
        endpoint, may_be_cut = call.endpoint, call.may_be_cut
        try:
            packed = await body.read(response, endpoint, may_be_cut=may_be_cut)
            content = body.unpacked(packed, headers.get("content-encoding"), endpoint, may_be_cut=may_be_cut)
            page = raw(headers.get("content-type", "")).startswith("text/html")
            if page and not content.lstrip().startswith((b"{", b"[")):  # some servers label JSON as HTML
                return None, False, content.decode(errors="replace"), False
            text = content.decode(errors="replace") if len(content) < 4096 else ""
            if may_be_cut:
                value, is_json, cut = body.beginning(content, endpoint)
                return value, is_json, text, cut
            return *body.decoded(content, endpoint), text, False
        except ContractError:
            if response.status_code in retry.NOT_TAKEN | retry.MAYBE_TAKEN:
                return None, False, "", False
            raise


class _Progress:
    """Tracks the progress of one exchange by httpcore's trace: behind a proxy, that decides whether the request was sent."""

    def __init__(self, left: bool, take_meanwhile: Callable[[], Callable[[], None] | None]) -> None:
        """`left`: the value without a trace. The result of `take_meanwhile` is called while the response is pending."""
        self.left = left
        self._take_meanwhile = take_meanwhile
        self._connecting = False
        self._stream: Any = None

    async def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Records the event. A CONNECT is a separate request, to the proxy."""
        if event.endswith("connect_tcp.complete"):
            self._stream = details["return_value"]
        elif event.endswith("setup_socks5_connection.failed"):
            await self._stream.aclose()  # httpcore does not close it
        elif event.endswith("send_request_headers.started"):
            self._connecting = details["request"].method == b"CONNECT"
            self.left = self.left or not self._connecting
        elif event.endswith("send_request_body.complete") and not self._connecting:
            (self._take_meanwhile() or _nothing)()


def _nothing() -> None:
    pass
