"""Measures the clock of a server that sends no `Date` (Keycloak): from a token it issued, or from the API next to it."""
# Decision 0113.

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.clock import Deadline
from runner.errors import Cause, ContractError, DeadlineExceeded, LoginRefused, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.http import retry
from runner.http.client import Client
from runner.http.messages import PreparedRequest, Response
from runner.profile.transforms import claims
from runner.state.interface import HeldState
from runner.state.record import MAX_SKEW
from runner.url import is_loopback

if TYPE_CHECKING:
    from runner.auth.codes import Codes
    from runner.auth.login_flow import LoginState

NOTED = 2.0  # seconds: a smaller skew is ignored, since dates are truncated to the second
NEAR = 60.0  # seconds: a code was accepted, so a token with an `iat` further off was issued earlier
ASK_SECONDS = 5.0


def by_token(held: HeldState, state: "LoginState", token: str, observer: Observer) -> None:
    """Reads the skew from `iat` of a token that a login with a code just returned, where the response has no `Date`."""
    answer = state.answer
    if answer is None or not state.used_code or retry.http_date(answer.headers.get("date")) is not None:
        return
    try:
        found = claims(token, "access_token")
    except ContractError:
        return
    issued = found.get("iat") if isinstance(found, dict) else None
    if isinstance(issued, int | float) and not isinstance(issued, bool):
        skew = _offset(float(issued), answer)
        if abs(skew) <= NEAR:
            note(held, skew, observer)


async def by_api(held: HeldState, api: Client, deadline: Deadline, observer: Observer) -> float | None:
    """Reads the skew from the API's `Date`, by a request without credentials; None where it is unchanged.

    For a login that a server without `Date` refused: a wrong clock may be the reason.
    """
    if not trusted(api.address):
        return None
    call = PreparedRequest("clock", "GET", "/", {}, takes_redirect=True)
    soon = Deadline.after(deadline.clock, ASK_SECONDS, "the request for the time").min(deadline)
    try:
        answer = await api.exchange(call, 1, soon, observer)
    except (Unreachable, ContractError, DeadlineExceeded):
        return None
    skew = by_date(answer)
    if skew is None or abs(skew) > MAX_SKEW or abs(skew - held.state.skew) < NOTED:
        return None
    note(held, skew, observer)
    return skew


async def judged(
    held: HeldState, error: LoginRefused, api: Client | None, codes: "Codes", deadline: Deadline, observer: Observer
) -> LoginRefused:
    """Returns the refusal; where a code may be the cause and the server sends no `Date`, with the API's clock."""
    if error.cause not in (Cause.CODE, Cause.CREDENTIALS) or codes.dated or api is None:
        return error
    skew = await by_api(held, api, deadline, observer)
    if skew is None:
        return error
    way = "behind" if skew > 0 else "ahead of"
    message = f"{error}. This machine's clock is {abs(skew):.0f} s {way} the API's; later codes use the API's time"
    return LoginRefused(message, cause=error.cause)


def trusted(address: str) -> bool:
    """Whether the value comes from that server."""
    parts = urlsplit(address)
    return parts.scheme == "https" or is_loopback(parts.hostname)


def by_date(answer: Response) -> float | None:
    """Returns the skew by the response's `Date`; None where it has none or came from a cache."""
    date = retry.http_date(answer.headers.get("date"))
    return None if date is None or "age" in answer.headers else _offset(date, answer)


def _offset(server_time: float, answer: Response) -> float:
    """Returns the server's clock minus ours at the middle of the exchange (RFC 5905's offset); server times are truncated to
    the second."""
    return server_time + 0.5 - (answer.sent_at + answer.received_at) / 2


def note(held: HeldState, skew: float, observer: Observer) -> None:
    """Stores the skew and reports it where there is one."""
    kept = 0.0 if abs(skew) < NOTED else round(skew, 1)
    if abs(held.state.skew - kept) >= 1.0:
        held.change(skew=kept)
    if kept:
        observer.emit(events.ClockSkew(kept))
