"""The command `logout`: ends and deletes the stored session. The record of used codes stays, so that no code repeats."""

import argparse
import sys

from runner.clock import rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.models import UserSession


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Has no options of its own."""


def execute(arguments: argparse.Namespace) -> int:
    """Ends each account's session at the API, where its login supports it, deletes it, and prints which of these was
    done."""
    lines: list[str] = []  # written at the end: a name that is also a user name would be redacted before

    async def work(visit: Visit) -> None:
        provider, ended = visit.account.provider, False
        session = (await provider.read_state(visit.deadline)).session
        try:
            ended = await provider.revoke(visit.deadline, visit.observer)
        finally:
            await provider.forget(visit.deadline, cooldown=False)
        lines.append(f"{visit.account.name}: {_done(session, ended=ended, static=provider.static)}\n")

    code = visit_each(arguments, work)
    sys.stdout.writelines(lines)
    return code


def _done(session: UserSession | None, *, ended: bool, static: bool) -> str:
    if static:
        return "nothing to end: each request carries the secrets"
    if session is None:
        return "no session was stored"
    if ended:
        return "the session was ended at the API and deleted here"
    until = f" until {rfc3339(session.expires_at)}" if session.expires_at else ""
    return (
        f"the session was deleted here; the profile has no request to end it at the API, where it may be valid{until}"
    )
