"""The messages on the wire: a request filled in from a profile's template, and a response."""

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from runner.errors import ContractError, UsageError
from runner.external import ExternalText, raw
from runner.frozen import Frozen
from runner.http import retry
from runner.models import JSON
from runner.profile import template
from runner.profile.expressions import find
from runner.profile.models import RateLimit, Request

if TYPE_CHECKING:
    import httpx

MAX_DIGITS = 16  # of a number of seconds; a longer one is invalid and may be too large for a float
# Servers split at %2F, decode twice, or drop what follows a semicolon (Tomcat) before they resolve dots.
_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}(?:$|[/\\;])")
NO_ROUTE = 404  # without JSON: of a proxy that knows no server for the path, at present
EPOCH = 1e9  # a larger time to wait is not a duration but a time in Unix seconds


class Response(Frozen):
    """A complete response: status, headers (lower-case names), decoded JSON (None where the body is not JSON).

    `sent_at` and `received_at` are Unix seconds around the exchange, to measure the server's clock; `left_at` is the first
    of them by the monotonic clock.
    """

    status: int
    headers: Mapping[str, ExternalText]
    body: JSON
    is_json: bool
    sent_at: float
    received_at: float
    left_at: float
    cookies: Mapping[str, str] = field(default_factory=dict)
    text: str = ""  # of an HTML page, and of any short body
    cookie_ends: Mapping[str, float] = field(default_factory=dict)  # Unix seconds, of a login that stores cookies
    set_cookies: tuple[str, ...] = ()  # the unchanged Set-Cookie lines
    cut: bool = False  # `body` is the beginning of the response, with its first list cut short

    @property
    def is_page(self) -> bool:
        """Whether it is an HTML page."""
        kind = raw(self.headers.get("content-type", "")).lower()
        return not self.is_json and kind.startswith(("text/html", "application/xhtml"))

    @property
    def stray(self) -> str:
        """What came where a proxy or firewall may respond in the API's place: a page, or a 404 without JSON. Empty otherwise."""
        if self.is_page:
            return "an HTML page"
        return "no JSON" if self.status == NO_ROUTE and not self.is_json else ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the API asks to wait (Retry-After), None where it does not say."""
        return retry.retry_after(self.headers, self.received_at)


class PreparedRequest(Frozen):
    """A request ready to send. `endpoint` names it in metrics and messages; all other parts may contain secrets.

    `takes_redirect`: a redirect is an accepted response. It is never followed. `may_be_cut`: the beginning of an oversized
    response is used.
    """

    endpoint: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = None
    takes_redirect: bool = False
    may_be_cut: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)  # its template's values, for expressions about its response

    def __repr__(self) -> str:
        """Shows only parts without secrets."""
        return f"Call({self.endpoint})"


def prepare(endpoint: str, request: Request, values: Mapping[str, Any]) -> PreparedRequest:
    """Returns the request with `values` filled in.

    Raises ContractError where the template lacks a value or a value is invalid, UsageError where that value is ours.
    """
    try:
        return _filled(endpoint, request, values)
    except KeyError as missing:
        name = missing.args[0]
        raise ContractError(f"{endpoint}: the profile needs a value for `{name}`: {_remedy(name)}") from None
    except _Unfit as unfit:
        kind = UsageError if unfit.name.startswith("params.") else ContractError
        raise kind(f"{endpoint}: `{unfit.name}` {unfit}; in a path it would address a different resource") from None
    except UnicodeEncodeError:  # lone surrogates, such as bytes of the environment that are not UTF-8
        raise ContractError(f"{endpoint}: a value for the request cannot be encoded as UTF-8") from None


def _filled(endpoint: str, request: Request, values: Mapping[str, Any]) -> PreparedRequest:
    target = template.fill(request.path, _Quoted(values))
    query = template.fill(request.query, values) or {}
    headers = template.fill(request.headers, values) or {}
    payload = template.fill(request.json_, values)
    form = template.fill(request.form, values)
    if query:
        target += "?" + urlencode(_pairs(query))
    headers = {key: template.as_text(value) for key, value in headers.items()}
    body = None
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(_pairs(form)).encode()
    elif payload is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(payload).encode()
    return PreparedRequest(endpoint, request.method, target, headers, body, values=values)


def _remedy(name: str) -> str:
    """Returns the remedy for a missing value."""
    if name == "sync_type":
        return "name the sync, with --sync"
    return "set it in `params` of the settings" if name.startswith("params.") else "the API did not return it"


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the values for a query or form: a list repeats its key for each value."""
    return [
        (key, template.as_text(one))
        for key, value in values.items()
        for one in (value if isinstance(value, list) else [value])
    ]


class _Quoted(dict[str, Any]):
    """Values as they stand in a path: quoted, but only those that are asked for. Each is one segment, or refused."""

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value under `key`. Raises _Unfit for one that clients or servers would remove from the path."""
        value = super().get(key, default)
        if value is None:
            return None
        text = template.as_text(value)
        if not text:
            raise _Unfit(key, "is empty")
        if _DOTS.search(unquote(unquote(text))):
            raise _Unfit(key, "contains a segment of dots (`.` or `..`)")
        return quote(text, safe="/" if isinstance(value, template.PathText) else "")


class _Unfit(ValueError):
    """A value that cannot be one path segment."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def headers_of(response: "httpx.Response") -> dict[str, ExternalText]:
    """Returns the response's headers by lower-case name; repeated ones are joined by commas (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for (
        name,
        value,
    ) in response.headers.multi_items():  # looking each up, as `items` does, takes a tenth of the request's time
        found[name] = f"{found[name]}, {value}" if name in found else value
    return from_outside(found)


def from_outside(headers: Mapping[str, str]) -> dict[str, ExternalText]:
    """Headers with values that cannot be printed by mistake."""
    return {name: ExternalText(value) for name, value in headers.items()}


def cookies(response: "httpx.Response") -> Mapping[str, str]:
    """Returns the cookies of a response by name. They are read for the profile and never sent from here."""
    if "set-cookie" not in response.headers:
        return {}
    return {one.name: one.value or "" for one in response.cookies.jar}


def in_http(answer: Response, profile: RateLimit) -> Response:
    """Returns the response with a rate limit in HTTP's form (429, Retry-After), however the API reports it (decision 0031)."""
    if answer.status not in profile.status or not _fits(answer, profile.when):
        return answer
    retry_after = answer.headers.get(profile.retry_after.lower())
    digits = raw(retry_after or "").strip()
    if digits.isascii() and digits.isdigit() and float(digits[:MAX_DIGITS]) > EPOCH:
        retry_after = ExternalText(str(max(0, round(float(digits[:MAX_DIGITS]) - answer.received_at))))
    headers = {key: value for key, value in answer.headers.items() if key != "retry-after"}
    return replace(
        answer, status=429, headers=headers if retry_after is None else {**headers, "retry-after": retry_after}
    )


def _fits(answer: Response, when: str | None) -> bool:
    try:
        return when is None or bool(find(answer.body, when))
    except ContractError:  # another kind of body, so not a rate limit
        return False
