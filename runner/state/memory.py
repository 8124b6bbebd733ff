"""State in memory, for the lifetime of one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runner.clock import Deadline
from runner.state.interface import AccountOptions, LoadedState
from runner.state.record import AccountState


class MemoryStore:
    """One account's state."""

    kept = False  # between runs

    def __init__(self, state: AccountState | None = None) -> None:
        """Starts with `state`, or an empty one."""
        self.state = state or AccountState()
        self._lock = asyncio.Lock()

    async def read(self, deadline: Deadline) -> AccountState:  # noqa: ARG002 - nothing is waited for
        """Returns the last saved state."""
        return self.state

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:  # noqa: ARG002 - only this process has it
        """Locks it against other tasks."""
        async with self._lock:
            held = LoadedState(self.state, float("inf"), self._save)  # written by this process's clock
            try:
                yield held
            finally:
                await held.keep()

    async def _save(self, state: AccountState) -> None:
        self.state = state


class MemoryState:
    """The state of every account."""

    def __init__(self) -> None:
        """Starts empty."""
        self._accounts: dict[str, MemoryStore] = {}

    def account(self, key: str, options: AccountOptions) -> MemoryStore:  # noqa: ARG002 - nothing is written
        """Returns the account's store: the same one for the same key."""
        return self._accounts.setdefault(key, MemoryStore())

    async def close(self) -> None:
        """Does nothing."""
