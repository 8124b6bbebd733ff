"""What is kept of one account between runs, and its written form: JSON with a schema version, encrypted on request."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from types import UnionType
from typing import Any, get_args, get_origin

from runner.errors import SecretError, UsageError
from runner.frozen import Frozen
from runner.models import AuthenticationToken, UserSession

SCHEMA = 1


class AccountState(Frozen):
    """One account's state. Times are Unix seconds. Steps that began up to `assume_used_until` count as used."""

    session: UserSession | None = None
    last_step: int | None = None
    failures: int = 0
    cooldown_until: float = 0.0
    skew: float = 0.0
    assume_used_until: float = 0.0
    used_refresh_token: str | None = None  # SHA-256 of the last one that was sent
    since: float = 0.0  # when this state began to remember codes; 0: it does not
    answered: bool = True  # whether the last code that left had an answer
    refused_cause: str = ""  # what the last refused login was refused for (errors.Cause)
    refused_secrets: str = ""  # salt and fingerprints of the secrets that it was about
    refused_at: float = 0.0  # when it, or a login without a clear answer, ended
    blocked: bool = False  # those secrets are not sent again until they change
    doubts: int = 0  # logins in a row without a clear answer
    checked_at: float = 0.0  # when `check` last proved that the state can be written


class Codec:
    """Writes and reads the kept state; with keys, encrypted with Fernet (AES-128-CBC and HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """`keys` are 32 bytes in Base64 each: the first encrypts, all decrypt. Raises SecretError or UsageError."""
        self._cipher = _cipher(keys) if keys else None

    def encode(self, stored: AccountState) -> bytes:
        """The written form."""
        plain = json.dumps({"schema": SCHEMA, **asdict(stored)}).encode()
        if self._cipher is None:
            return plain
        return json.dumps({"schema": SCHEMA, "sealed": self._cipher.encrypt(plain).decode()}).encode()

    def decode(self, raw: bytes) -> AccountState:
        """The state. Raises ValueError for what `encode` did not write, SecretError for what needs another key."""
        try:
            data = json.loads(raw)
            if isinstance(data, dict) and "sealed" in data:
                data = json.loads(self._unsealed(data["sealed"]))
            return _read(data)
        except (TypeError, KeyError, AttributeError, RecursionError):
            raise ValueError from None

    def _unsealed(self, sealed: str) -> bytes:
        if self._cipher is None:
            raise SecretError("the kept session is encrypted; mount its key as the secret `state_key`")
        from cryptography.fernet import InvalidToken

        try:
            plain: bytes = self._cipher.decrypt(sealed.encode())
        except InvalidToken:
            raise SecretError(
                "the kept session is encrypted with another key, or was changed; mount its key as the secret "
                "`state_key` (old keys may follow the new one, with commas), or remove the session"
            ) from None
        return plain


def _cipher(keys: Sequence[str]) -> Any:
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise UsageError(
            "state_key: encryption needs one more package: pip install 'sync-runner[encryption]'"
        ) from None
    try:
        raw = [base64.b64decode(key.strip().replace("-", "+").replace("_", "/"), validate=True) for key in keys]
    except ValueError:
        raw = []
    if not raw or any(len(key) != 32 for key in raw):
        raise SecretError("state_key: not 32 bytes in Base64; make one with `openssl rand -base64 32`")
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in raw])


def _read(data: Any) -> AccountState:
    if not isinstance(data, dict) or data.pop("schema") != SCHEMA:
        raise ValueError
    session = data.pop("session")
    stored = AccountState(session=None if session is None else _session(session), **data)
    for part in (stored, stored.session, stored.session and stored.session.token):
        if part is not None:
            _check_types(part)
    return stored


def _session(data: dict[str, Any]) -> UserSession:
    """The session. One that an older version wrote holds its token's values beside its own."""
    if "token" not in data:
        token = {name: data.pop(name) for name in ("access_token", "token_type", "scope", "mfa_verified")}
        shared = {name: data[name] for name in ("user_id", "created_at", "last_used_at")}
        data["token"] = {"token_id": "", **token, **shared}
        data |= {"mfa_enabled": token["mfa_verified"], "session_id": data["session_id"] or ""}
    return UserSession(**{**data, "token": AuthenticationToken(**data["token"])})


def _check_types(part: Any) -> None:
    for field in fields(part):
        if not _fits(getattr(part, field.name), field.type):
            raise TypeError(field.name)


def _fits(value: Any, kind: Any) -> bool:
    kinds = {get_origin(one) or one for one in (get_args(kind) if isinstance(kind, UnionType) else (kind,))}
    return isinstance(value, tuple(kinds | {int} if float in kinds else kinds))  # JSON has one kind of number
