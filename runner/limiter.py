"""So many at once, the others in the order in which they came, each until its deadline."""
# Decision 0056.

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runner.clock import Deadline
from runner.errors import DeadlineExceeded


class FairLimiter:
    """Lets never more than `count` in at once."""

    def __init__(self, count: int) -> None:
        """Nobody is in yet."""
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def taken(self, deadline: Deadline, problem: str) -> AsyncIterator[None]:
        """A turn for the length of the block. Raises DeadlineExceeded, which begins with `problem`, where none came."""
        try:
            async with asyncio.timeout(deadline.remaining if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise DeadlineExceeded(f"{problem} before {deadline.what} ended") from None
        try:
            yield
        finally:
            self._free.release()
