"""The settings of one sandbox."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from runner.sandbox.faults import Fault

Mfa = Literal["none", "totp", "challenge", "sms"]


def _password() -> str:
    return secrets.token_urlsafe(18)


def _today() -> date:
    return datetime.now(UTC).date()


def _seed() -> str:
    return base64.b32encode(secrets.token_bytes(20)).decode()


@dataclass(frozen=True, slots=True)
class User:
    """One more user, with the same kind of second factor as the first."""

    username: str
    password: str = field(repr=False)
    totp_seed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Address, the first user, more users, lifetimes in seconds, pace and faults. Port 0 selects a free one."""

    host: str = "127.0.0.1"
    port: int = 8001
    state: Path | None = None
    data: Path | None = None
    username: str = "demo"
    password: str = field(default_factory=_password, repr=False)
    totp_seed: str = field(default_factory=_seed, repr=False)
    users: tuple[User, ...] = ()
    mfa: Mfa = "totp"
    access_token_seconds: int = 900
    lock_after: int = 5
    lock_seconds: float = 300.0
    job_seconds: float = 0.0
    clock_offset: float = 0.0
    seed: int = 7
    last_day: date = field(default_factory=_today)
    kdf: Literal["normal", "fast"] = "normal"
    faults: tuple[Fault, ...] = ()
    admin_token: str = field(default_factory=_password, repr=False)
