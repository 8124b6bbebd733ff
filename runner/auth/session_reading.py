"""Reads a session from the response of a login or a refresh, at the places that the profile names."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from runner.auth.login_flow import LoginState, shape_of
from runner.errors import ContractError
from runner.http.messages import Response
from runner.models import AuthenticationToken, UserSession
from runner.profile import extraction
from runner.profile.expressions import shape
from runner.profile.models import SessionFields

SHORTEST, LONGEST = 10.0, 366 * 86_400.0  # seconds: lifetimes outside are probably in another unit and are ignored
PREVIOUS = (
    "previous"  # carried with a session: the fingerprint of the previous login's session that it was created from
)
COOKIES = "cookies"  # carried with a session: the cookies of a login that stores them
_KEY = secrets.token_bytes(16)  # of this process: guessed tokens cannot be tested against a fingerprint


def token_id(access_token: str) -> str:
    """Returns a name for a token without one: a keyed hash (BLAKE2b, 48 bits), stored with the token."""
    return f"fp-{hashlib.blake2b(access_token.encode(errors='surrogatepass'), key=_KEY, digest_size=6).hexdigest()}"


def read_session(
    endpoint: str, fields: SessionFields, state: LoginState, kept: frozenset[str], before: UserSession | None = None
) -> UserSession:
    """Returns the session in the last response of `state`; `kept` are the carried names that stay with it.

    `before`: the session that a refresh renews. Raises ContractError where there is no token, or an invalid value.
    """
    answer = state.answer
    assert answer is not None
    text = partial(extraction.text, answer, known=state.values)
    cookies = state.browser.jar.dumped() if state.browser.jar else ""
    access_token = _access_token(endpoint, text(fields.access_token), fields, cookies, answer)
    made_up = token_id(access_token)
    now = answer.sent_at  # the earliest time it can have been issued
    lifetime = _lifetime(answer, fields, state.values, now)
    user_id = text(fields.user_id) or (before.user_id if before else None)
    enabled = extraction.flag(answer, fields.mfa_enabled, state.values)
    token = AuthenticationToken(
        token_id=text(fields.token_id) or made_up,
        access_token=access_token,
        user_id=user_id,
        token_type=text(fields.token_type) or "Bearer",
        expires_in=lifetime,
        scope=text(fields.scope) or (before.token.scope if before else None),
        created_at=now,
        last_used_at=now,
        mfa_verified=state.used_code,
    )
    session = UserSession(
        token=token,
        session_id=text(fields.session_id) or made_up,
        user_id=user_id,
        refresh_token=text(fields.refresh_token),
        expires_at=None if lifetime is None else now + lifetime,
        mfa_enabled=state.used_code if enabled is None else enabled,
        created_at=now,
        last_used_at=now,
        carried=_kept(state, kept) | ({COOKIES: cookies} if cookies else {}),
    )
    return session if before is None else _renewed(session, before, text(fields.session_id))


def _access_token(endpoint: str, token: str | None, fields: SessionFields, cookies: str, answer: Response) -> str:
    """Returns the token, or a name for the cookies that replace it. Raises ContractError where there is neither."""
    found = token if fields.access_token else cookies and f"cookies {fingerprint(cookies)}"
    if not found:
        place = extraction.named(fields.access_token) or "a cookie"
        raise ContractError(f"{endpoint}: no access token at `{place}` ({shape_of(answer)})")
    return found


def _renewed(session: UserSession, before: UserSession, session_id: str | None) -> UserSession:
    """Returns the session with the earlier values that the renewing response left out."""
    return replace(
        session,
        session_id=session_id or before.session_id or session.session_id,
        refresh_token=session.refresh_token or before.refresh_token,
        created_at=before.created_at or session.created_at,
    )


def _kept(state: LoginState, kept: frozenset[str]) -> dict[str, str]:
    """Returns what stays with the session. Raises ContractError for a value that is not text: the state stores text."""
    found = {name: value for name, value in state.carried.items() if name in kept}
    for name, value in found.items():
        if not isinstance(value, str):
            raise ContractError(f"login: `{name}` is stored with the session and must be text, but is {shape(value)}")
    return found


def _lifetime(answer: Response, fields: SessionFields, known: Mapping[str, Any], now: float) -> float | None:
    """Returns the seconds until the session ends; None where no lifetime is stated, or an implausible one.

    A lifetime of a few seconds, or of years, is in another unit: the session then lasts until the API says that it
    ended.
    """
    lifetime = extraction.seconds(answer, fields.expires_in, known)
    end = extraction.moment(answer, fields.expires_at, known)
    lifetimes = [lifetime, None if end is None else end - now]
    return min((one for one in lifetimes if one is not None and SHORTEST <= one <= LONGEST), default=None)


def lasts(session: UserSession, margin: float, now: float) -> bool:
    """Whether the session lasts for `margin` more seconds, or for a quarter of its lifetime where that is less."""
    if session.expires_at is None:
        return True
    return session.expires_at - min(margin, max(0.0, session.expires_at - session.token.created_at) / 4) > now


def fingerprint(token: str) -> str:
    """Returns a fingerprint that recognises a token without storing it. Tokens are random: a plain hash reveals nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def made_of(session: UserSession, previous: UserSession | None) -> bool:
    """Whether the session was created from that session of the previous login; True where there is none."""
    return previous is None or session.carried.get(PREVIOUS) == fingerprint(previous.access_token)


def bound(session: UserSession, previous: UserSession | None) -> UserSession:
    """Returns the session with the fingerprint of the one it was created from, and no later end."""
    if previous is None:
        return session
    ends = [end for end in (session.expires_at, previous.expires_at) if end is not None]
    carried = {**session.carried, PREVIOUS: fingerprint(previous.access_token)}
    return replace(session, expires_at=min(ends, default=None), carried=carried)


def secrets_of(session: UserSession) -> list[str]:
    """Returns every text of the session that must never be shown."""
    carried = [value for name, value in session.carried.items() if name != COOKIES]
    found = [session.access_token, session.refresh_token, *carried]
    if COOKIES in session.carried:
        from runner.auth.cookies import Jar

        found += Jar(session.carried[COOKIES]).secrets
    return [one for one in found if one]


def mounted(refresh_token: str | None, used: str | None) -> UserSession | None:
    """Returns the session of a mounted refresh token, unless the token was already `used` (its fingerprint)."""
    if refresh_token is None or used == fingerprint(refresh_token):
        return None
    return UserSession(AuthenticationToken("mounted", access_token=""), refresh_token=refresh_token)
