"""Codes from a person: `login` asks on a terminal; elsewhere `submit-code` passes the code to the waiting run.

The code goes through an inbox in the state: a separate record with its own lock, since the waiting run locks the
account's record. So it works with every kind of state, and is encrypted as the state is.
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
TAKEN_SECONDS = 10.0  # until a waiting run must have accepted a code
ALIVE = 15.0  # seconds: longest time between two signs of life of a waiting run
FORM = re.compile(r"[0-9A-Za-z]{4,32}")


class PersonSource:
    """Waits for a person. Typing errors can be corrected: after a refused code, it asks once more."""

    once = False
    stale = False
    by_person = True

    def __init__(self, options: CodeOptions, inbox: AccountStore) -> None:
        """`inbox` is the account's record for codes."""
        self._options = options
        self._inbox = inbox

    async def begin(self, deadline: Deadline) -> None:
        """Clears old codes from the inbox when the wait begins."""

    async def next(self, wanted: CodeWanted) -> Code:
        """Returns the code that a person gives. Raises AuthenticationError where none is given within `code.timeout`."""
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
                f"login: no one-time code was given within {timeout:.0f} s (code.timeout); `sync-runner login` on a terminal "
                "stores a session for later runs"
            ) from None
        self._options.add_secret(code)
        await keep_used(wanted.held, code)
        return Code(code, certain=False)

    async def _asked(self, deadline: Deadline) -> str:
        assert self._options.ask is not None
        who = f" of {self._options.account}" if self._options.account else ""
        return well_formed(await self._options.ask(f"One-time code{who}: ", deadline))

    async def _handed(self, deadline: Deadline, observer: Observer) -> str:
        """Returns the code that `submit-code` stores. However the wait ends, inbox and observer learn that it ended."""
        clock, waiting, received = self._options.clock, False, False
        observer.emit(events.CodeWanted(self._options.settings.timeout))
        try:
            while True:
                async with self._inbox.hold(deadline) as held:
                    if waiting and held.state.submitted_code:  # an older code belongs to another login
                        received = True
                        return held.state.submitted_code
                    waiting = True
                    held.change(code_waiter=clock.time() + 2 * ALIVE, submitted_code=None)
                alive = Deadline.after(clock, ALIVE, "the sign of life").min(deadline)
                while not alive.expired and not (await self._inbox.read(deadline)).submitted_code:
                    await clock.sleep(min(POLL, max(0.0, deadline.remaining)))
                if deadline.expired:
                    raise DeadlineExceeded(f"login: no one-time code arrived before {deadline.what} ended")
        finally:
            observer.emit(events.CodeWaitEnded(received))
            with suppress(RunnerError):  # the entry expires by itself
                await self._left()

    async def _left(self) -> None:
        within = Deadline.after(self._options.clock, 2.0, "the time to save")
        async with self._inbox.hold(within) as held:
            held.change(code_waiter=0.0, submitted_code=None)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Does nothing: the caller stores the code, which is still valid."""

    async def check(self, deadline: Deadline) -> str:
        """Checks that the inbox can be written."""
        async with self._inbox.hold(deadline) as held:
            held.change(checked_at=self._options.clock.time())
        timeout = self._options.settings.timeout
        return f"codes come from a person: a run waits {timeout:.0f} s for `submit-code`; on a terminal, `login` asks"


def well_formed(text: str) -> str:
    """Returns the code without spaces and dashes. Raises UsageError for an invalid code."""
    code = re.sub(r"[\s\-]", "", text)
    if not FORM.fullmatch(code):
        raise UsageError("not a one-time code; give its 4 to 32 digits or letters")
    return code


async def waits(inbox: AccountStore, clock: Clock, deadline: Deadline) -> bool:
    """Whether a run waits for a code. Raises what the state raises."""
    return (await inbox.read(deadline)).code_waiter > clock.time() - CLOCKS_APART


async def submit(inbox: AccountStore, code: str, clock: Clock, deadline: Deadline) -> bool:
    """Passes a code to the waiting run; returns False where no run accepts it. Raises what the state raises.

    Raises UsageError where another code was passed on just before: it is never replaced before the run has it."""
    taken_by = Deadline.after(clock, TAKEN_SECONDS, "the time to accept it").min(deadline)
    async with inbox.hold(deadline) as held:
        earlier = held.state.submitted_code
        if not earlier:
            held.change(submitted_code=code)
    while earlier and not taken_by.expired:
        await clock.sleep(POLL / 2)
        if (await inbox.read(deadline)).submitted_code != earlier:
            raise UsageError(
                "submit-code: another code was passed on just before this one, which was not used; the run's log shows the "
                "API's response, and whether it asks again"
            )
    while not earlier and not taken_by.expired:
        if (await inbox.read(deadline)).submitted_code != code:
            return True
        await clock.sleep(POLL / 2)
    async with inbox.hold(deadline) as held:
        if held.state.submitted_code != (earlier or code):
            return True
        held.change(submitted_code=None, code_waiter=0.0)
    return False


def person_source(options: CodeOptions) -> PersonSource:
    """Returns the source. Raises UsageError without persistent state."""
    why = "person passes a code through the state and stores the session there"
    return PersonSource(options, lasting(options, why))
