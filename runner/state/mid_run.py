"""Continues a run whose store starts to refuse: the session stays in memory, running jobs are polled on, and a warning
is logged.

A store that does not respond is different: another process may have taken over, so no login starts without the store.
"""
# Decision 0134.

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from runner.clock import Clock, Deadline
from runner.errors import RunnerError, StateError, StateMoved
from runner.state.interface import AccountStore, HeldState, LoadedState
from runner.state.record import AccountState

PATIENCE = 10.0  # seconds for which a refusing store is retried
PAUSE = 1.0


class MidRunStore:
    """One account's store; after its first use, the run can continue without it."""

    def __init__(self, store: AccountStore, clock: Clock, warn: Callable[[str], None]) -> None:
        """Wraps `store`."""
        self._store, self._clock, self._warn = store, clock, warn
        self._left: AccountState | None = None  # the state that this run last stored
        self._unkept: AccountState | None = None  # the state that is only in memory

    async def read(self, deadline: Deadline) -> AccountState:
        """Reads the stored state."""
        return await self._store.read(deadline)

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[HeldState]:
        """As in AccountStore. Raises StateError only where the store refuses from the start, or refuses to save."""
        async with AsyncExitStack() as stack:
            held = await self._entered(stack, deadline)
            if held is None:
                memory = LoadedState(self._unkept or self._left or AccountState(), float("inf"), self._in_memory)
                try:
                    yield memory
                finally:
                    self._unkept = memory.state
                return
            self._merge(held)
            try:
                yield held
            finally:
                self._left = held.state
                self._unkept = self._left  # until it is stored
        self._unkept = None

    @property
    def kept(self) -> bool:
        """Whether the store keeps anything between runs."""
        return getattr(self._store, "kept", True)

    @property
    def unkept(self) -> bool:
        """Whether the memory has unsaved state."""
        return self._unkept is not None

    def _merge(self, held: HeldState) -> None:
        """Returns the unsaved state, unless another process has logged in since."""
        ours, theirs = self._unkept, held.state
        if ours is None or (theirs.last_step or 0) > (ours.last_step or 0):
            return
        if theirs.session and (ours.session is None or theirs.session.created_at > ours.session.created_at):
            return
        held.change(**{name: getattr(ours, name) for name in ours._names})

    async def _entered(self, stack: AsyncExitStack, deadline: Deadline) -> HeldState | None:
        """Returns the held state; None where the store keeps refusing."""
        patience = Deadline.after(self._clock, 0.0 if self._unkept else PATIENCE, "the patience").min(deadline)
        while True:
            try:
                return await stack.enter_async_context(self._store.hold(deadline))
            except StateError as error:
                if self._left is None or isinstance(error, StateMoved):  # the account is now at another place
                    raise
                if patience.expired:
                    if self._unkept is None:
                        self._warn(f"{error}; the run continues with its session in memory and retries at its end")
                    return None
            await self._clock.sleep(min(PAUSE, patience.remaining))

    async def _in_memory(self, state: AccountState) -> None:
        self._unkept = state

    async def settle(self, deadline: Deadline) -> None:
        """At the end of the run: stores the unsaved state, or reports that it is lost."""
        if self._unkept is None:
            return
        try:
            async with self._store.hold(deadline) as held:
                self._merge(held)
        except RunnerError as error:
            self._warn(f"the session was not stored, and the next run logs in again: {error}")
