"""Requests about an existing session: its refresh, the fallback where that fails, and its end at the API."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.auth.browser import Browser
from runner.auth.login_flow import TURNED_AWAY, LoginFlow, LoginState
from runner.auth.session_reading import COOKIES, read_session
from runner.clock import Deadline
from runner.errors import ContractError, DeadlineExceeded, LoginRefused, RunnerError, Unreachable
from runner.events.observer import Observer
from runner.http import retry
from runner.http.messages import NO_ROUTE, Response
from runner.http.retry import Safety
from runner.models import UserSession
from runner.profile import extraction
from runner.profile.auth_models import Auth, Revoke
from runner.profile.parts import Request, Rule
from runner.state.interface import HeldState
from runner.state.record import AccountState

AWAY = frozenset({502, 503})  # responses of a gateway whose server is down


class _OfAProxy(Unreachable):
    """A proxy responded in the API's place: the refresh token is unused."""


async def renewed(
    flow: LoginFlow,
    auth: Auth,
    held: HeldState,
    old: UserSession,
    known: Mapping[str, Any],
    deadline: Deadline,
    observer: Observer,
) -> UserSession:
    """Returns the API's response to the refresh token. Raises Unreachable, LoginRefused or ContractError."""
    refresh = auth.refresh
    assert refresh is not None
    values = {**known, **old.carried, "refresh_token": old.refresh_token, "access_token": old.access_token}
    browser = flow.browser(old.carried.get(COOKIES))
    browser.skew = held.state.skew
    answer = await browser.client(refresh.request, values).tries.repeat(
        "refresh",
        lambda attempt: _sent(browser, "refresh", refresh.request, values, attempt, deadline, observer),
        why=not_looked_at,
        deadline=deadline,
        observer=observer,
    )
    flow.codes.measure_skew(held, answer, observer)
    if retry.failure(answer.status):
        raise Unreachable(f"the API answered {answer.status}", sent=answer.status not in AWAY)
    if _of_a_proxy(answer, refresh.accepted):
        raise _OfAProxy(f"{answer.status} came without JSON, not from the API", sent=False)
    if not extraction.fits(refresh.accepted, answer, values):
        raise LoginRefused(f"the API answered {answer.status}")
    fields = refresh.session or auth.session
    assert fields is not None
    state = LoginState(values, browser, answer, dict(old.carried), old.token.mfa_verified)
    return read_session("refresh", fields, state, auth.kept, old)


def _of_a_proxy(answer: Response, accepted: tuple[Rule, ...]) -> bool:
    """Whether a proxy responds in the API's place, so that the refresh token is unused: maintenance, or no route.

    A page with 400, 401 or 403 may be the server's refusal, after which only a login helps.
    """
    unrefused = answer.status == NO_ROUTE or answer.status < 300
    return bool(answer.stray) and unrefused and not extraction.tells(accepted, answer)


async def revoke(
    flow: LoginFlow,
    how: Revoke,
    session: UserSession,
    known: Mapping[str, Any],
    deadline: Deadline,
    observer: Observer,
) -> None:
    """Ends the session at the API. Raises Unreachable, ContractError, DeadlineExceeded."""
    values = {**known, **session.carried, "access_token": session.access_token, "refresh_token": session.refresh_token}
    browser = flow.browser(session.carried.get(COOKIES))
    answer = await browser.client(how.request, values).tries.repeat(
        "revoke",
        lambda attempt: _sent(browser, "revoke", how.request, values, attempt, deadline, observer),
        why=lambda failure: retry.reason(failure, Safety.IDEMPOTENT),
        deadline=deadline,
        observer=observer,
    )
    if not extraction.fits(how.accepted, answer, values):
        raise ContractError(
            f"revoke: the API answered {answer.status}; the session is deleted here but may still be valid there"
        )


async def _sent(
    browser: Browser,
    endpoint: str,
    request: Request,
    values: Mapping[str, Any],
    attempt: int,
    deadline: Deadline,
    observer: Observer,
) -> Response:
    """One exchange, built anew for each try. A redirect is a response that the profile may accept."""
    call = replace(browser.prepared(endpoint, request, values), takes_redirect=True)
    client = browser.client(request, values)
    return await browser.exchange(request, call, client, attempt, deadline, observer, lambda _answer: True)


def without(
    error: RunnerError, held: HeldState, old: UserSession, before: AccountState, *, alive: bool, login: bool
) -> UserSession | None:
    """Returns what remains after a failed refresh: the old session, or None for a login. Raises `error` where neither helps.

    `login`: the profile has a login. It follows a page of a proxy too, which may answer at this path for ever.
    """
    away = isinstance(error, Unreachable | DeadlineExceeded)
    rest = replace(old, refresh_token=None)
    if away and not error.sent:
        held.change(session=before.session, used_refresh_token=before.used_refresh_token)
        rest = old
    elif away and alive:
        held.change(session=rest)
    if away and alive:
        return rest
    if isinstance(error, _OfAProxy) and login:
        return None
    if isinstance(error, DeadlineExceeded) or (isinstance(error, Unreachable) and not error.sent):
        raise error
    return None  # the token may be used up: a login is needed


def not_looked_at(failure: Unreachable | int) -> str | None:
    """Returns the reason to retry a refresh: the API certainly never saw the token, which a second use would revoke.

    A 503 does not prove that: a proxy may send one when its server was slow.
    """
    certain = failure in TURNED_AWAY if isinstance(failure, int) else not failure.sent
    return retry.reason(failure, Safety.NON_IDEMPOTENT) if certain else None
