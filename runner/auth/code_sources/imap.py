"""Codes by e-mail: the newest fitting message that came after the login began. Read on a thread, marked as seen, kept.

What came since is told by the mailbox's own numbers (UIDNEXT, RFC 9051, 2.3.1.1), so that no clock counts.
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
        """Nothing is opened yet."""
        self._settings = settings
        self._password = password
        self._since: tuple[int, int] | None = None  # UIDVALIDITY and UIDNEXT when the login began

    async def begin(self, deadline: Deadline) -> None:
        """Note where the mailbox ends now."""
        self._since = await self._end(deadline)

    async def _end(self, deadline: Deadline) -> tuple[int, int]:
        from runner.auth.code_sources.mailbox import end_of

        settings, password = self._settings.imap, self._password
        return await _aside(lambda _stop: end_of(settings, password, OPEN_SECONDS), deadline)

    async def next(self, wanted: CodeWanted) -> Code:
        """Waits for the message. Raises AuthenticationError where none comes within `code.timeout`."""
        from runner.auth.code_sources.mailbox import wait_for_code

        settings, password, since = self._settings, self._password, self._since
        assert since is not None
        wanted.observer.emit(events.CodeWait(settings.timeout, "message"))
        code = await _aside(lambda stop: wait_for_code(settings, password, since, stop), wanted.deadline)
        await keep_used(wanted.held, code)
        return Code(code)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The code is kept by who asked, and still good."""

    async def check(self, deadline: Deadline) -> str:
        """Log in at the mailbox and open it, without a change."""
        await self._end(deadline)
        imap = self._settings.imap
        return f"{imap.mailbox} at {imap.host}:{imap.port} can be read"


async def _aside(work: Callable[[threading.Event], T], deadline: Deadline) -> T:
    """What `work` returns or raises, on a daemon thread that is told to stop when nobody waits any more."""
    stop = threading.Event()
    try:
        async with asyncio.timeout(deadline.remaining):
            return await begun(lambda: work(stop), "mailbox")
    except TimeoutError:
        raise DeadlineExceeded(f"login: the mailbox gave no one-time code until {deadline.what} ended") from None
    finally:
        stop.set()


def imap_source(options: CodeOptions) -> ImapSource:
    """The source. Raises UsageError for what is not given, SecretError without a password."""
    imap = options.settings.imap
    for name in ("host", "username"):
        if getattr(imap, name) is None:
            raise UsageError(f"code.imap.{name}: needed for code.source: imap")
    password = options.reader.require(PASSWORD)
    options.add_secret(password)
    return ImapSource(options.settings, password)
