"""`login`: have a session and keep it for the next run."""

import argparse
import asyncio
import os
import sys

from runner.clock import Deadline, rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.engine.session_words import came_about, clock
from runner.errors import DeadlineExceeded, StateError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--force", action="store_true", help="drop the kept session and any cool-down first")


def execute(arguments: argparse.Namespace) -> int:
    """Log in each account where its kept session is not good, and say how each session came about."""
    told: list[str] = []  # written at the end: a name that is also a user name would be redacted before

    async def work(visit: Visit) -> None:
        if not visit.settings.state.lasting:
            raise UsageError("login: a session is kept only with a state directory; give --state-dir (state.dir)")
        if arguments.force:
            await visit.account.provider.forget(visit.deadline, cooldown=True)
        before = (await visit.account.provider.read_state(visit.deadline)).session
        session = await visit.account.provider.session(visit.deadline, visit.observer)
        kept = await visit.account.provider.read_state(visit.deadline)
        if visit.account.provider.static:
            told.append(f"{visit.account.name}: no login is needed: the secrets go with each request\n")
            return
        if kept.session is None:
            raise StateError("login: the session was not kept; the log says why")
        until = f"; good until {rfc3339(session.expires_at)}" if session.expires_at else ""
        stands = clock(visit.account.api.skew, kept.skew)
        told.append(f"{visit.account.name}: {came_about(session, before)}{until}; {stands}\n")

    code = visit_each(arguments, work, ask=_ask if sys.stdin is not None and sys.stdin.isatty() else None)
    sys.stdout.writelines(told)
    return code


async def _ask(prompt: str, deadline: Deadline) -> str:
    """The line that is typed. Raises DeadlineExceeded, and UsageError where the terminal is closed.

    The event loop waits for it: a thread that reads could not be left behind.
    """
    sys.stderr.write(prompt)
    sys.stderr.flush()
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        async with asyncio.timeout(deadline.remaining):
            await typed.wait()
    except TimeoutError:
        sys.stderr.write("\n")
        raise DeadlineExceeded(f"login: no one-time code was typed until {deadline.what} ended") from None
    finally:
        loop.remove_reader(sys.stdin.fileno())
    line = os.read(sys.stdin.fileno(), 1024)
    if not line:
        raise UsageError("login: the terminal was closed before a one-time code was typed")
    return line.decode(errors="replace").strip()
