"""Codes from a person: asked at a terminal by `login`; elsewhere handed to the waiting run by `submit-code`.

The code goes through an inbox in the state: a record of its own beside the account's, with a lock of its own, since the
waiting run holds the account's. So it works for every kind of state, and is encrypted as the state is.
"""
# Decision 0120.

import re
from contextlib import suppress

from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted, keep_used, lasting
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError, DeadlineExceeded, RunnerError, UsageError
from runner.events import events
from runner.events.observer import Observer
from runner.state.interface import AccountStore, HeldState
from runner.state.record import AccountState

POLL = 1.0  # seconds between two polls of the inbox: each is a request where the state is in a cluster or a database
CLOCKS_APART = 60.0  # seconds by which the clocks of two machines may differ here
TAKEN_SECONDS = 10.0  # until a waiting run must have taken a code
ALIVE = 15.0  # seconds: a waiting run says so often at least that it still waits
FORM = re.compile(r"[0-9A-Za-z]{4,32}")


class PersonSource:
    """Waits for a person. A slip of the fingers may be mended: a refused code is asked for once more."""

    once = False
    stale = False
    by_person = True

    def __init__(self, options: CodeOptions, inbox: AccountStore) -> None:
        """`inbox` is the account's record for codes."""
        self._options = options
        self._inbox = inbox

    async def begin(self, deadline: Deadline) -> None:
        """What lies in the inbox from before is dropped when the wait begins."""

    async def next(self, wanted: CodeWanted) -> Code:
        """The code that a person gives. Raises AuthenticationError where nobody does within `code.timeout`."""
        timeout = self._options.settings.timeout
        until = Deadline.after(self._options.clock, timeout, "code.timeout")
        ask = self._options.ask
        try:
            if ask is not None:
                code = await self._asked(until.min(wanted.deadline))
            else:
                code = await self._handed(until.min(wanted.deadline), wanted.observer)
        except DeadlineExceeded:
            if until.remaining > 0:
                raise
            raise AuthenticationError(
                f"login: nobody gave a one-time code within {timeout:.0f} s (code.timeout); `sync-runner login` at a terminal "
                "keeps a session for the runs that follow"
            ) from None
        self._options.add_secret(code)
        await keep_used(wanted.held, code)
        return Code(code, certain=False)

    async def _asked(self, deadline: Deadline) -> str:
        assert self._options.ask is not None
        who = f" of {self._options.account}" if self._options.account else ""
        return well_formed(await self._options.ask(f"One-time code{who}: ", deadline))

    async def _handed(self, deadline: Deadline, observer: Observer) -> str:
        """The code that `submit-code` leaves. Whatever ends the wait, inbox and observer say that nobody waits any more."""
        clock, waiting, received = self._options.clock, False, False
        observer.emit(events.CodeWanted(self._options.settings.timeout))
        try:
            while True:
                async with self._inbox.hold(deadline) as held:
                    if waiting and held.state.submitted_code:  # what lay there before was meant for another login
                        received = True
                        return held.state.submitted_code
                    waiting = True
                    held.change(code_waiter=clock.time() + 2 * ALIVE, submitted_code=None)
                alive = Deadline.after(clock, ALIVE, "the sign of life").min(deadline)
                while not alive.expired and not (await self._inbox.read(deadline)).submitted_code:
                    await clock.sleep(min(POLL, max(0.0, deadline.remaining)))
                if deadline.expired:
                    raise DeadlineExceeded(f"login: no one-time code came until {deadline.what} ended")
        finally:
            observer.emit(events.CodeWaitEnded(received))
            with suppress(RunnerError):  # what it says ends by itself
                await self._left()

    async def _left(self) -> None:
        within = Deadline.after(self._options.clock, 2.0, "the time to save")
        async with self._inbox.hold(within) as held:
            held.change(code_waiter=0.0, submitted_code=None)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The code is kept by who asked, and still good."""

    async def check(self, deadline: Deadline) -> str:
        """The inbox can be written."""
        async with self._inbox.hold(deadline) as held:
            held.change(checked_at=self._options.clock.time())
        timeout = self._options.settings.timeout
        return f"a person gives them: a run waits {timeout:.0f} s for `sync-runner submit-code`, at a terminal `login` asks"


def well_formed(text: str) -> str:
    """The code without spaces and dashes, as people type them. Raises UsageError for what is none."""
    code = re.sub(r"[\s\-]", "", text)
    if not FORM.fullmatch(code):
        raise UsageError("this is no one-time code; give its 4 to 32 digits or letters")
    return code


async def waits(inbox: AccountStore, clock: Clock, deadline: Deadline) -> bool:
    """Whether a run waits for a code. Raises what the state raises."""
    return (await inbox.read(deadline)).code_waiter > clock.time() - CLOCKS_APART


async def submit(inbox: AccountStore, code: str, clock: Clock, deadline: Deadline) -> bool:
    """Hand a code to the run that waits; False where none takes it. Raises what the state raises."""
    async with inbox.hold(deadline) as held:
        held.change(submitted_code=code)
    taken_by = Deadline.after(clock, TAKEN_SECONDS, "the time to take it").min(deadline)
    while not taken_by.expired:
        if (await inbox.read(deadline)).submitted_code != code:
            return True
        await clock.sleep(POLL / 2)
    async with inbox.hold(deadline) as held:
        if held.state.submitted_code != code:
            return True
        held.change(submitted_code=None, code_waiter=0.0)
    return False


def person_source(options: CodeOptions) -> PersonSource:
    """The source. Raises UsageError without a state that is kept."""
    why = "person hands a code over through the state, and keeps the session there"
    return PersonSource(options, lasting(options, why))
