"""The session that an answer of a login or a refresh gives, as the profile says where its values stand."""

import hashlib
import secrets

from runner.auth.login_flow import LoginState, shape_of
from runner.errors import ContractError
from runner.http.messages import Response
from runner.models import AuthenticationToken, UserSession
from runner.profile import extraction
from runner.profile.models import SessionFields, Source

SHORTEST, LONGEST = 10.0, 366 * 86_400.0  # seconds: lifetimes beyond are more likely of another unit, and not believed
_KEY = secrets.token_bytes(16)  # of this process: a fingerprint cannot be tried out against guessed tokens


def token_id(access_token: str) -> str:
    """A name for a token to which the API gives none: a keyed hash (BLAKE2b, 48 bits), kept with the token."""
    return f"fp-{hashlib.blake2b(access_token.encode(errors='surrogatepass'), key=_KEY, digest_size=6).hexdigest()}"


def read_session(
    endpoint: str, fields: SessionFields, state: LoginState, kept: frozenset[str], before: UserSession | None = None
) -> UserSession:
    """The session in the last answer of `state`; `kept` are the carried names that go on with it.

    `before` is the session that a refresh renews: it keeps its id, its beginning, and what the answer does not tell.
    Raises ContractError where there is no token, or a value that does not fit.
    """
    answer = state.answer
    assert answer is not None

    def text(sources: tuple[Source, ...] | None) -> str | None:
        return extraction.text(answer, sources, state.carried)

    access_token = text(fields.access_token)
    if not access_token:
        raise ContractError(
            f"{endpoint}: no access token at `{extraction.named(fields.access_token)}` ({shape_of(answer)})"
        )
    fingerprint = token_id(access_token)
    now = answer.sent_at  # the earliest moment it can have been issued
    lifetime = _lifetime(answer, fields, now)
    user_id = text(fields.user_id) or (before.user_id if before else None)
    enabled = extraction.flag(answer, fields.mfa_enabled)
    token = AuthenticationToken(
        token_id=text(fields.token_id) or fingerprint,
        access_token=access_token,
        user_id=user_id,
        token_type=text(fields.token_type) or "Bearer",
        expires_in=lifetime,
        scope=text(fields.scope) or (before.token.scope if before else None),
        created_at=now,
        last_used_at=now,
        mfa_verified=state.used_code,
    )
    return UserSession(
        token=token,
        session_id=text(fields.session_id) or (before.session_id if before else "") or fingerprint,
        user_id=user_id,
        refresh_token=text(fields.refresh_token) or (before.refresh_token if before else None),
        expires_at=None if lifetime is None else now + lifetime,
        mfa_enabled=state.used_code if enabled is None else enabled,
        created_at=(before.created_at if before else 0.0) or now,
        last_used_at=now,
        carried={name: value for name, value in state.carried.items() if name in kept},
    )


def _lifetime(answer: Response, fields: SessionFields, now: float) -> float | None:
    """Seconds until the session ends; None where it is not told, or told so that it cannot be true.

    A lifetime of some seconds, or of years, is one of another unit: the session then lasts until the API says that it ended.
    """
    told = extraction.seconds(answer, fields.expires_in)
    end = extraction.moment(answer, fields.expires_at)
    lifetimes = [told, None if end is None else end - now]
    return min((one for one in lifetimes if one is not None and SHORTEST <= one <= LONGEST), default=None)


def lasts(session: UserSession, margin: float, now: float) -> bool:
    """Whether it lasts for `margin` seconds more, or for a quarter of its length where that is less."""
    if session.expires_at is None:
        return True
    return session.expires_at - min(margin, max(0.0, session.expires_at - session.token.created_at) / 4) > now
