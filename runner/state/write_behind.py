"""Writes that nothing waits for beyond a deadline: they are finished later, and what failed is told at the end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from runner.clock import Deadline
from runner.errors import RunnerError
from runner.state.file_worker import GRACE


class WriteBehind:
    """The writes of one ledger that are not finished."""

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        """`name` says where, in warnings."""
        self._name, self._warn = name, warn
        self._unfinished: set[asyncio.Task[None]] = set()

    async def write(self, work: Coroutine[Any, Any, None], deadline: Deadline) -> None:
        """Wait for `work` until the deadline, and raise what it raises; then let it go on."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=max(deadline.remaining, GRACE))
        if done:
            task.result()
            return
        self._unfinished.add(task)
        task.add_done_callback(self._finished)

    async def settle(self, within: Deadline) -> None:
        """Wait until all is written, or the time is over. Each had its grace when it was begun."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=within.remaining)

    async def finish(self, within: Deadline) -> None:
        """As `settle`; what is not written then is given up and told."""
        await self.settle(within)
        late = list(self._unfinished)
        self._unfinished.clear()
        for task in late:
            task.cancel()
        if late:
            self._warn(
                f"{self._name}: {len(late)} entries were not kept: the store did not answer in time; see the report"
            )

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if task not in self._unfinished or task.cancelled():
            return
        self._unfinished.discard(task)
        problem = task.exception()
        if problem is not None:
            self._warn(
                f"an entry was not kept: {problem}" if isinstance(problem, RunnerError) else "an entry was not kept"
            )
