"""The stored state of one account and its encoding: JSON with a schema version, encrypted on request."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, field, fields, replace
from types import UnionType
from typing import Any, get_args, get_origin

from runner.errors import SecretError, StateError, StateMoved, UsageError
from runner.external import MAX_WORDS, show
from runner.frozen import Frozen
from runner.models import AuthenticationToken, UserSession

MOVED_SCHEMA = 2  # of the mark that `state move` leaves: an older version refuses it as a newer schema
_MOVED = (
    "set state.url, state.dir or state.kubernetes_secret to that place, or move it back with `sync-runner state move`"
)
SCHEMA = 1  # additions need no new number: unknown keys are kept unchanged
MAX_COOLDOWN = 6 * 3600.0  # seconds; a later end comes from a clock that was ahead
MAX_SKEW = 3600.0  # seconds; a larger skew is more likely a wrong Date header
MAX_NUMBER = 2.5e11  # Unix seconds of the year 9892: larger than any time, step or count that a runner writes


class AccountState(Frozen):
    """One account's state. Times are Unix seconds. Steps that began up to `assume_used_until` count as used."""

    session: UserSession | None = None
    session_login: str = ""  # fingerprint of the login that created the session
    last_step: int | None = None
    failures: int = 0
    cooldown_until: float = 0.0
    skew: float = 0.0
    assume_used_until: float = 0.0
    used_refresh_token: str | None = None  # SHA-256 of the last refresh token that was sent
    since: float = 0.0  # when this state began to record codes; 0: it does not
    answered: bool = True  # whether the last sent code had a response
    refused_cause: str = ""  # the cause of the last refused login (errors.Cause)
    refused_secrets: str = ""  # salt and fingerprints of the secrets that it concerned
    refused_at: float = 0.0  # when it, or a login without a clear response, ended
    blocked: bool = False  # those secrets are not sent again until they change
    doubts: int = 0  # logins in a row without a clear response
    checked_at: float = 0.0  # when `check` last verified that the state can be written
    last_code: str | None = None  # SHA-256 of the last code from a program, a message or a person
    counter: int | None = None  # the next counter of counter-based codes (RFC 4226)
    counter_seed: str | None = None  # SHA-256 of the seed that the counter belongs to
    code_waiter: float = 0.0  # in an inbox: until when a run waits for a code; 0: none does
    submitted_code: str | None = None  # in an inbox: the code that a person submitted
    unknown: dict[str, Any] = field(default_factory=dict)
    """Fields that a newer version wrote, kept unchanged."""

    def believable(self, now: float) -> "AccountState":
        """Returns the state without values that only a wrong clock can have written. `now`: Unix seconds."""
        cooldown = min(self.cooldown_until, now + MAX_COOLDOWN)
        names = ("assume_used_until", "since", "refused_at")
        ahead: dict[str, Any] = {name: now for name in names if getattr(self, name) > now + MAX_SKEW}
        if not ahead and cooldown == self.cooldown_until:
            return self
        return replace(self, cooldown_until=cooldown, **ahead)


class Codec:
    """Encodes and decodes the stored state; with keys, encrypted with Fernet (AES-128-CBC and HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """`keys` are 32 bytes in Base64 each: the first encrypts, all decrypt. Raises SecretError or UsageError."""
        self._cipher = _cipher(keys) if keys else None

    def encode(self, stored: AccountState) -> bytes:
        """Returns the encoded form."""
        written = {name: value for name, value in asdict(stored).items() if name != "unknown"}
        plain = json.dumps({**stored.unknown, "schema": SCHEMA, **written}).encode()
        if self._cipher is None:
            return plain
        return json.dumps({"schema": SCHEMA, "sealed": self._cipher.encrypt(plain).decode()}).encode()

    def decode(self, raw: bytes) -> AccountState:
        """Returns the state. Raises ValueError for what `encode` did not write, SecretError for what needs another key.

        StateError: a newer version wrote it in a form that this one cannot read.
        """
        data: Any = None
        try:
            data = _json(raw)
            if isinstance(data, dict) and "moved" in data:
                raise StateMoved(f"this state was moved to {show(str(data['moved']), MAX_WORDS)}; {_MOVED}")
            if isinstance(data, dict) and "sealed" in data:
                data = _json(self._unsealed(data["sealed"]))
            return _read(dict(data))
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
            schema = data.get("schema") if isinstance(data, dict) else None
            if type(schema) is int and SCHEMA < schema < MAX_NUMBER:
                raise StateError(
                    f"a newer sync-runner wrote it (schema {schema}, this version knows {SCHEMA}); use that version, "
                    "or remove it to log in anew"
                ) from None
            raise ValueError from None

    def _unsealed(self, sealed: str) -> bytes:
        raw = base64.urlsafe_b64decode(sealed)
        if len(raw) < 73 or raw[0] != 0x80:  # Fernet's version, time, vector, one block and HMAC
            raise ValueError
        if self._cipher is None:
            raise SecretError("the stored session is encrypted; mount its key as the secret `state_key`")
        from cryptography.fernet import InvalidToken

        try:
            plain: bytes = self._cipher.decrypt(sealed.encode())
        except InvalidToken:
            raise SecretError(
                "the stored session is encrypted with another key, or was changed; mount its key as the secret "
                "`state_key` (old keys may follow the new one, separated by commas), or remove the session"
            ) from None
        return plain


def moved_to(place: str) -> bytes:
    """Returns the record that marks a moved account: a run that still uses the old place is refused."""
    return json.dumps({"schema": MOVED_SCHEMA, "moved": place}).encode()


def _cipher(keys: Sequence[str]) -> Any:
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise UsageError(
            "state_key: encryption needs an extra package: pip install 'sync-runner[encryption]'"
        ) from None
    try:
        raw = [base64.b64decode(key.strip().replace("-", "+").replace("_", "/"), validate=True) for key in keys]
    except ValueError:
        raw = []
    if not raw or any(len(key) != 32 for key in raw):
        raise SecretError("state_key: not 32 bytes in Base64; create one with `openssl rand -base64 32`")
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in raw])


def _json(raw: bytes | str) -> Any:
    """Decodes JSON. Raises ValueError, also for NaN and Infinity, which JSON does not allow."""

    def no_number(name: str) -> Any:
        raise ValueError(name)

    return json.loads(raw, parse_constant=no_number)


def _read(data: dict[str, Any]) -> AccountState:
    schema = data.pop("schema")
    if type(schema) is not int or schema < 1:
        raise ValueError
    session = data.pop("session")
    known = {one.name for one in fields(AccountState)} - {"unknown"}
    unknown = {name: data.pop(name) for name in data.keys() - known}
    stored = AccountState(session=None if session is None else _session(session), **data, unknown=unknown)
    _check_types(stored)
    if stored.session is not None:
        _check_types(stored.session)
        _check_types(stored.session.token)
        _check_sendable(stored.session)
    _check_ranges(stored)
    return stored


def _check_ranges(stored: AccountState) -> None:
    """Raises ValueError for values that no runner writes."""
    good = (
        stored.failures >= 0
        and stored.doubts >= 0
        and (stored.last_step or 0) >= 0
        and (stored.counter or 0) >= 0
        and abs(stored.skew) <= MAX_SKEW
        and min(stored.cooldown_until, stored.since, stored.refused_at, stored.assume_used_until, stored.code_waiter)
        >= 0
    )
    if not good:
        raise ValueError
    json.dumps(stored.unknown, allow_nan=False)


def _check_sendable(session: UserSession) -> None:
    """Raises ValueError where a header value contains forbidden characters (RFC 9110, 5.5)."""
    for value in (session.access_token, session.token.token_type, *session.carried.values()):
        if not (value.isascii() and value.isprintable()):
            raise ValueError


def _session(data: dict[str, Any]) -> UserSession:
    """Returns the session. An older version stored the token's values next to its own."""
    if "token" not in data:
        token = {name: data.pop(name) for name in ("access_token", "token_type", "scope", "mfa_verified")}
        shared = {name: data[name] for name in ("user_id", "created_at", "last_used_at")}
        data["token"] = {"token_id": "", **token, **shared}
        data |= {"mfa_enabled": token["mfa_verified"], "session_id": data["session_id"] or ""}
    token = _known(AuthenticationToken, data["token"])
    return UserSession(**{**_known(UserSession, data), "token": AuthenticationToken(**token)})


def _known(kind: type[Frozen], data: dict[str, Any]) -> dict[str, Any]:
    """Returns the values without a newer version's additions: each login writes the session anew."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return {name: value for name, value in data.items() if name in names}


def _check_types(part: Any) -> None:
    for one in fields(part):
        if one.name != "unknown" and not _fits(getattr(part, one.name), one.type):
            raise TypeError(one.name)


def _fits(value: Any, kind: Any) -> bool:
    kinds = {get_origin(one) or one for one in (get_args(kind) if isinstance(kind, UnionType) else (kind,))}
    if isinstance(value, bool):  # Python treats it as a number
        return bool in kinds
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
        return False
    if isinstance(value, str):
        return str in kinds and _is_text(value)
    if isinstance(value, dict):
        return dict in kinds and all(isinstance(text, str) and _is_text(text) for text in value.values())
    return isinstance(value, tuple(kinds | {int} if float in kinds else kinds))  # JSON has only one number type


def _is_text(value: str) -> bool:
    """Whether it can be encoded: JSON allows lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
