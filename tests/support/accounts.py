"""Many accounts: users of the sandbox, and the same as folders of secret files."""

import base64
import secrets
from collections.abc import Iterable
from pathlib import Path

from runner.sandbox.command import write_secrets
from runner.sandbox.settings import User


def users(count: int) -> tuple[User, ...]:
    """Users of their own passwords and seeds."""
    return tuple(
        User(f"user-{number:04}", secrets.token_urlsafe(12), base64.b32encode(secrets.token_bytes(20)).decode())
        for number in range(count)
    )


def write_accounts(directory: Path, known: Iterable[User]) -> Path:
    """A folder of secret files for each, named account-N for user-N."""
    for user in known:
        found = {"username": user.username, "password": user.password, "totp_seed": user.totp_seed}
        write_secrets(directory / user.username.replace("user", "account"), found)
    return directory
