"""Limits concurrency. Waiters are served first in, first out, and give up at their deadline."""
# Decision 0056.

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runner.clock import Deadline
from runner.errors import DeadlineExceeded


class FairLimiter:
    """Admits at most `count` at once."""

    def __init__(self, count: int) -> None:
        """Creates an empty limiter."""
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def taken(self, deadline: Deadline, problem: str) -> AsyncIterator[None]:
        """Holds a slot for the length of the block. Raises DeadlineExceeded, which starts with `problem`, without a slot."""
        try:
            async with asyncio.timeout(deadline.remaining if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise DeadlineExceeded(f"{problem} before {deadline.what} ended") from None
        try:
            yield
        finally:
            self._free.release()
