"""The options of `sync-runner sandbox`, and the settings from them."""

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.sandbox.settings import SandboxSettings

SECRETS = ("username", "password", "totp_seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sandbox's options."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    add("--port", type=int, default=8001, help="port to listen at; 0 selects a free one (default: 8001)")
    add("--sandbox-state", type=Path, metavar="DIR", help="store users, jobs and items here (default: temporary)")
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="activities/, health/, workouts/ to sync (default: a generated year)",
    )
    add("--username", default="demo", help="the user's name (default: demo)")
    add("--password-file", type=Path, metavar="FILE", help="the user's password (default: random)")
    add("--totp-seed-file", type=Path, metavar="FILE", help="the user's TOTP seed in Base32 (default: random)")
    add("--users-dir", type=Path, metavar="DIR", help="more users: one folder each, with a runner's secret files")
    add("--mfa", choices=("none", "totp", "challenge", "sms"), default="totp", help="second factor (default: totp)")
    add("--job-seconds", type=float, default=0.0, metavar="S", help="minimum duration of a job (default: 0)")
    add("--access-token-lifetime", type=int, default=900, metavar="S", help="in seconds (default: 900)")
    add("--lock-after", type=int, default=5, metavar="N", help="lock an account after N failures (default: 5)")
    add("--clock-offset", type=float, default=0.0, metavar="S", help="offset of the server's clock")
    add("--seed", type=int, default=7, metavar="N", help="seed of the generated data (default: 7)")
    add(
        "--last-day",
        type=date.fromisoformat,
        metavar="DAY",
        help="last day of the generated year, such as 2026-06-30 (default: today)",
    )
    add("--kdf", choices=("normal", "fast"), default="normal", help="cost of password hashes (default: normal)")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="such as kind=status,endpoint=trigger,status=503,times=2",
    )
    add("--print-credentials", action="store_true", help="print base_url, credentials and admin token as JSON")
    add("--write-secrets", type=Path, metavar="DIR", help="write username, password and totp_seed as files, mode 0600")


def execute(arguments: argparse.Namespace) -> int:
    """Serves until a signal arrives. Raises UsageError."""
    from runner.sandbox.server import serve

    settings = _settings(arguments)
    if arguments.write_secrets:
        write_secrets(arguments.write_secrets, {name: getattr(settings, name) for name in SECRETS})
    try:
        serve(settings, print_credentials=arguments.print_credentials)
    except OSError as error:
        what = error.filename or f"cannot serve at {settings.host}:{settings.port}"
        raise UsageError(f"sandbox: {what} ({error.strerror})") from None
    except OverflowError:
        raise UsageError(f"--port: {settings.port} is not a port; give 0 to 65535") from None
    return 0


def _settings(arguments: argparse.Namespace) -> "SandboxSettings":
    from runner.sandbox.faults import parse
    from runner.sandbox.settings import SandboxSettings, User

    given: dict[str, Any] = {}
    if arguments.last_day:
        given["last_day"] = arguments.last_day
    for name, path in (("password", arguments.password_file), ("totp_seed", arguments.totp_seed_file)):
        if path is not None:
            given[name] = _secret(path)
    if arguments.users_dir is not None:
        given["users"] = tuple(User(**found) for found in _folders(arguments.users_dir))
    try:
        faults = tuple(parse(text) for text in arguments.fault)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--fault: {error}") from None
    return SandboxSettings(
        host=arguments.host,
        port=arguments.port,
        state=arguments.sandbox_state,
        data=arguments.data_dir,
        username=arguments.username,
        mfa=arguments.mfa,
        access_token_seconds=arguments.access_token_lifetime,
        lock_after=arguments.lock_after,
        job_seconds=arguments.job_seconds,
        clock_offset=arguments.clock_offset,
        seed=arguments.seed,
        kdf=arguments.kdf,
        faults=faults,
        **given,
    )


def write_secrets(directory: Path, secrets: dict[str, str]) -> None:
    """Writes each secret to a file of its name, mode 0600 in a directory of mode 0700."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, value in secrets.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(value + "\n", encoding="utf-8")


def _folders(directory: Path) -> list[dict[str, str]]:
    try:
        found = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"--users-dir: {directory}: cannot be read ({error.strerror})") from None
    return [{name: _secret(folder / name) for name in SECRETS} for folder in found]


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({type(error).__name__})") from None
