"""Codes by e-mail: takes the newest matching message since the login began. Reads on a thread; marks it as seen.

The mailbox's own numbers (UIDNEXT, RFC 9051, 2.3.1.1) identify new messages, so no clock is needed.
"""
# Decision 0121.

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted, keep_used
from runner.clock import Deadline
from runner.errors import DeadlineExceeded, UsageError
from runner.events import events
from runner.settings.code_section import CodeSettings
from runner.state.interface import HeldState
from runner.state.record import AccountState
from runner.threads import begun

T = TypeVar("T")
PASSWORD = "imap_password"
OPEN_SECONDS = 20.0  # for the login at the mailbox, before anything is sent to the API


class ImapSource:
    """One mailbox."""

    once = True  # the API sends one message for one login
    stale = False
    by_person = False

    def __init__(self, settings: CodeSettings, password: str) -> None:
        """Opens nothing yet."""
        self._settings = settings
        self._password = password
        self._since: tuple[int, int] | None = None  # UIDVALIDITY and UIDNEXT when the login began

    async def begin(self, deadline: Deadline) -> None:
        """Records the current end of the mailbox."""
        self._since = await self._end(deadline)

    async def _end(self, deadline: Deadline) -> tuple[int, int]:
        from runner.auth.code_sources.mailbox import end_of

        settings, password = self._settings.imap, self._password
        return await _aside(lambda _stop: end_of(settings, password, OPEN_SECONDS), deadline)

    async def next(self, wanted: CodeWanted) -> Code:
        """Waits for the message. Raises AuthenticationError where none arrives within `code.timeout`."""
        from runner.auth.code_sources.mailbox import wait_for_code

        settings, password, since = self._settings, self._password, self._since
        assert since is not None
        wanted.observer.emit(events.CodeWait(settings.timeout, "message"))
        code = await _aside(lambda stop: wait_for_code(settings, password, since, stop), wanted.deadline)
        await keep_used(wanted.held, code)
        return Code(code)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Does nothing: the caller stores the code, which is still valid."""

    async def check(self, deadline: Deadline) -> str:
        """Logs in to the mailbox and opens it, without changing it."""
        await self._end(deadline)
        imap = self._settings.imap
        return f"{imap.mailbox} at {imap.host}:{imap.port} can be read"


async def _aside(work: Callable[[threading.Event], T], deadline: Deadline) -> T:
    """Returns or raises what `work` does, on a daemon thread that stops when the caller no longer waits."""
    stop = threading.Event()
    try:
        async with asyncio.timeout(deadline.remaining):
            return await begun(lambda: work(stop), "mailbox")
    except TimeoutError:
        raise DeadlineExceeded(f"login: the mailbox received no one-time code before {deadline.what} ended") from None
    finally:
        stop.set()


def imap_source(options: CodeOptions) -> ImapSource:
    """Returns the source. Raises UsageError for missing settings, SecretError without a password."""
    imap = options.settings.imap
    for name in ("host", "username"):
        if getattr(imap, name) is None:
            raise UsageError(f"code.imap.{name}: needed for code.source: imap")
    password = options.reader.require(PASSWORD)
    options.add_secret(password)
    return ImapSource(options.settings, password)
