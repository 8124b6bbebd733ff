"""Records refused logins and decides what may be sent next, so that the runner never locks an account.

The refused secrets are stored as a salted scrypt fingerprint: it recognises an unchanged secret and does not help to
guess it.
"""
# Decisions 0085, 0177, 0179.

import hashlib
import hmac
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from runner.auth.credentials import Credentials
from runner.errors import Cause, LoginRefused, RunnerError, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.state.interface import HeldState
from runner.state.record import MAX_COOLDOWN, AccountState

COOLDOWN = 300.0  # seconds after the first refused login; doubles with each further refusal
FREE_DOUBTS = 2  # logins in a row without a clear response before a cool-down
MAX_DOUBT_COOLDOWN = 3600.0
KEPT = 4  # refused secrets that are recognised: processes may have read different ones
SCRYPT_COST = 2**13  # N of scrypt: about 20 ms
APART = 2.0  # seconds between two refusals of one user: Keycloak 26 locks a user for two within 1 s

# The secrets that a refusal concerns, by cause: a change of one of these allows the next login.
_ABOUT: dict[Cause, tuple[str, ...]] = {
    Cause.PASSWORD: ("username", "password", "api_token"),
    Cause.CODE: ("username", "totp_seed"),
    Cause.CREDENTIALS: ("username", "password", "totp_seed"),
    Cause.CLIENT: ("client_id", "client_secret", "client_key"),
}
_NAMES = {
    Cause.PASSWORD: "`password`",
    Cause.CREDENTIALS: "pair of `password` and `totp_seed`",
    Cause.CLIENT: "`client_id` and `client_secret`",
}


# Fields of a state without recorded refusals: after a successful login, or a manual reset.
FORGIVEN: dict[str, Any] = {
    "failures": 0, "cooldown_until": 0.0, "refused_cause": "", "refused_secrets": "", "refused_at": 0.0,
    "blocked": False, "doubts": 0, "answered": True,
}  # fmt: skip


NOT_KEPT = (
    "no state is kept between runs (state.dir is not set), so the next run sends it again, and many servers lock an account "
    "after five refusals: stop the schedule until it is corrected, or keep state"
)


def with_advice(error: LoginRefused, credentials: Credentials, *, kept: bool) -> LoginRefused:
    """Returns the refusal; where nothing is `kept` between runs, with that advice. One that concerns no secret is unchanged."""
    if kept or error.cause is Cause.ACCOUNT or not counts(error.cause, credentials):
        return error
    return LoginRefused(f"{error}; {NOT_KEPT}", cause=error.cause)


def in_a_row(stored: AccountState) -> str:
    """Returns how many logins the API has refused since the last one that it accepted."""
    return "a refused login" if stored.failures == 1 else f"{stored.failures} refused logins in a row"


def counts(cause: Cause, credentials: Credentials) -> bool:
    """Whether a refusal may count against the account, and so starts a cool-down.

    That of a client does not, where a user logs in through it: servers check the client first (RFC 6749, 3.2.1), and the
    fault may be corrected at the server.
    """
    return cause is not Cause.TOKEN and not (cause is Cause.CLIENT and credentials.username is not None)


def after_refusal(stored: AccountState, cause: Cause, credentials: Credentials, now: float) -> dict[str, Any]:
    """Returns the state's changes after a refused login. `now`: Unix seconds. The session is deleted, the used step stays."""
    failures = stored.failures + 1
    again = cause is Cause.CREDENTIALS and stored.refused_cause == cause and _same(stored, cause, credentials)
    return {
        "session": None,
        "failures": failures,
        "cooldown_until": now + _length(failures),
        "refused_cause": cause.value,
        "refused_secrets": fingerprints(stored, cause, credentials),
        "refused_at": now,
        # One refusal that may concern the code does not prove the password wrong; a second one does.
        "blocked": again or cause in (Cause.PASSWORD, Cause.CLIENT),
        "answered": True,
        "doubts": 0,
    }


def after_doubt(stored: AccountState, credentials: Credentials, now: float) -> dict[str, Any]:
    """Returns the changes after a login without a clear response: a lost response or a server error may hide a refusal."""
    doubts = stored.doubts + 1
    if doubts <= FREE_DOUBTS:
        return {"doubts": doubts, "refused_at": now}
    return {
        "doubts": doubts,
        "cooldown_until": now + _doubt_length(doubts),
        "refused_cause": Cause.DOUBT.value,
        "refused_secrets": fingerprints(stored, Cause.DOUBT, credentials),
        "refused_at": now,
        "blocked": False,
    }


def objection(stored: AccountState, credentials: Credentials, now: float) -> RunnerError | None:
    """Returns why no login may be tried now; None where one may."""
    cause = next((one for one in Cause if one == stored.refused_cause), None)
    remaining = cooldown(stored, now)
    if not stored.blocked and remaining <= 0:
        return None
    if cause is not None and not _same(stored, cause, credentials):
        return None  # the secrets changed: the corrected one is tried immediately
    if stored.blocked and cause is not None:
        what = "`password`" if cause is Cause.CREDENTIALS and not credentials.seed else _NAMES.get(cause, "login")
        return LoginRefused(
            f"login: the API refused this {what} {_since(stored.refused_at)}; it is not sent again "
            "until it changes, so that the account is not locked. Mount the correct one, or `sync-runner login --force`",
            cause=cause,
        )
    if cause is Cause.DOUBT:
        return Unreachable(
            f"login: {stored.doubts} logins in a row had no clear response, which may count as a refusal; no login is tried "
            f"for another {remaining:.0f} s, or run `sync-runner login --force`",
            sent=False,
        )
    remedy = "once the account is unlocked, run" if cause is Cause.ACCOUNT else "correct the credentials, then run"
    return LoginRefused(
        f"no login is tried for another {remaining:.0f} s, after {in_a_row(stored)}, so that the account is not locked; {remedy} "
        "`sync-runner login --force`"
    )


def cooldown(stored: AccountState, now: float) -> float:
    """Returns the remaining seconds of a cool-down, 0 for none.

    At most its whole length: a later end was written by a clock that has been set back since.
    """
    length = _doubt_length(stored.doubts) if stored.refused_cause == Cause.DOUBT else _length(stored.failures)
    return max(0.0, min(stored.cooldown_until - now, length))


def check(held: HeldState, credentials: Credentials, now: float) -> None:
    """Raises what prevents a login: refused secrets that have not changed, or a cool-down."""
    if held.state.cooldown_until > now:
        held.change(cooldown_until=now + cooldown(held.state, now))  # another clock may have written it
    found = objection(held.state, credentials, now)
    if found:
        raise found


def note(held: HeldState, credentials: Credentials, now: float, error: LoginRefused, observer: Observer) -> None:
    """Stores and reports a refused login. One that does not count against the account is not stored."""
    observer.emit(events.LoginFailed("login", str(error)))
    if not counts(error.cause, credentials):
        return
    held.change(**after_refusal(held.state, error.cause, credentials, now))
    observer.emit(events.CooldownStarted(held.state.cooldown_until - now, held.state.failures))


def changed(cause: Cause, before: Credentials, after: Credentials) -> bool:
    """Whether the secrets that a refusal by `cause` concerns changed."""
    return _material(cause, before) != _material(cause, after)


def fingerprints(stored: AccountState, cause: Cause, credentials: Credentials) -> str:
    """Returns the stored fingerprints of this cause with that of these secrets."""
    salt, _, kept = stored.refused_secrets.partition(":") if stored.refused_cause == cause else ("", "", "")
    salt = salt or os.urandom(16).hex()
    known = [one for one in kept.split(",") if one]
    return f"{salt}:{','.join([*known, _key(cause, credentials, salt)][-KEPT:])}"


def _same(stored: AccountState, cause: Cause, credentials: Credentials) -> bool:
    salt, _, kept = stored.refused_secrets.partition(":")
    fingerprint = _key(cause, credentials, salt).encode()
    return any(hmac.compare_digest(fingerprint, one.encode(errors="replace")) for one in kept.split(","))


def _key(cause: Cause, credentials: Credentials, salt: str) -> str:
    material, salted = _material(cause, credentials), salt.encode(errors="replace")
    return hashlib.scrypt(material, salt=salted, n=SCRYPT_COST, r=8, p=1, dklen=16).hex()


def _material(cause: Cause, credentials: Credentials) -> bytes:
    return repr(list(_values(_ABOUT.get(cause), credentials))).encode()


def _values(names: tuple[str, ...] | None, credentials: Credentials) -> Iterable[tuple[str, object]]:
    """Returns the named secrets; all of them where none is named."""
    held = {**credentials.values, "totp_seed": credentials.seed and vars(credentials.seed)}
    return sorted((name, value) for name, value in held.items() if value and (names is None or name in names))


def _length(failures: int) -> float:
    return float(min(MAX_COOLDOWN, COOLDOWN * 2.0 ** max(0, min(failures - 1, 32))))


def _doubt_length(doubts: int) -> float:
    return float(min(MAX_DOUBT_COOLDOWN, COOLDOWN * 2.0 ** max(0, min(doubts - FREE_DOUBTS - 1, 32))))


def _since(at: float) -> str:
    try:
        return f"on {datetime.fromtimestamp(at, UTC):%Y-%m-%d at %H:%M UTC}"
    except (ValueError, OverflowError, OSError):
        return "before"
