"""The command `login`: logs in and stores the session for the next run."""

import argparse
import asyncio
import os
import sys

from runner.clock import Deadline, rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.engine.session_words import came_about, clock
from runner.errors import DeadlineExceeded, StateError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument("--force", action="store_true", help="first delete the stored session and any cool-down")


def execute(arguments: argparse.Namespace) -> int:
    """Logs in each account whose stored session is not valid, and prints the origin of each session."""
    lines: list[str] = []  # written at the end: a name that is also a user name would be redacted before

    async def work(visit: Visit) -> None:
        if not visit.settings.state.lasting:
            raise UsageError("login: a session is stored only with a state directory; give --state-dir (state.dir)")
        if arguments.force:
            await visit.account.provider.forget(visit.deadline, cooldown=True)
        before = (await visit.account.provider.read_state(visit.deadline)).session
        session = await visit.account.provider.session(visit.deadline, visit.observer)
        kept = await visit.account.provider.read_state(visit.deadline)
        if visit.account.provider.static:
            lines.append(f"{visit.account.name}: no login is needed: each request carries the secrets\n")
            return
        if kept.session is None:
            raise StateError("login: the session was not stored; the log gives the reason")
        until = f"; valid until {rfc3339(session.expires_at)}" if session.expires_at else ""
        stands = clock(visit.account.api.skew, kept.skew)
        lines.append(f"{visit.account.name}: {came_about(session, before)}{until}; {stands}\n")

    code = visit_each(arguments, work, ask=_ask if sys.stdin is not None and sys.stdin.isatty() else None)
    sys.stdout.writelines(lines)
    return code


async def _ask(prompt: str, deadline: Deadline) -> str:
    """Reads one typed line. Raises DeadlineExceeded, and UsageError where the terminal is closed.

    The event loop waits for it: a reading thread could not be stopped.
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
        raise DeadlineExceeded(f"login: no one-time code was typed before {deadline.what} ended") from None
    finally:
        loop.remove_reader(sys.stdin.fileno())
    line = os.read(sys.stdin.fileno(), 1024)
    if not line:
        raise UsageError("login: the terminal was closed before a one-time code was typed")
    return line.decode(errors="replace").strip()
