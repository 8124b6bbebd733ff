"""`logout`: end the kept session and drop it; the record of used codes stays, so that none is used twice."""

import argparse
import sys

from runner.clock import rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.models import UserSession


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def execute(arguments: argparse.Namespace) -> int:
    """End each account's session at the API, where its login says how, forget it, and say which of it was done."""
    told: list[str] = []  # written at the end: a name that is also a user name would be redacted before

    async def work(visit: Visit) -> None:
        provider, ended = visit.account.provider, False
        session = (await provider.read_state(visit.deadline)).session
        try:
            ended = await provider.revoke(visit.deadline, visit.observer)
        finally:
            await provider.forget(visit.deadline, cooldown=False)
        told.append(f"{visit.account.name}: {_done(session, ended=ended, static=provider.static)}\n")

    code = visit_each(arguments, work)
    sys.stdout.writelines(told)
    return code


def _done(session: UserSession | None, *, ended: bool, static: bool) -> str:
    if static:
        return "nothing to end: the secrets go with each request"
    if session is None:
        return "no session was kept"
    if ended:
        return "the session was ended at the API and is forgotten here"
    until = f" until {rfc3339(session.expires_at)}" if session.expires_at else ""
    return f"the session is forgotten here; the profile names no way to end it at the API, where it may be good{until}"
