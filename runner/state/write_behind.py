"""Writes that are finished after a deadline instead of waited for; failures are reported at the end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from runner.clock import Deadline
from runner.errors import RunnerError


class WriteBehind:
    """The unfinished writes of one ledger."""

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        """`name` is the ledger's name, for warnings."""
        self._name, self._warn = name, warn
        self._unfinished: set[asyncio.Task[None]] = set()

    async def write(self, work: Coroutine[Any, Any, None], deadline: Deadline) -> None:
        """Waits for `work` until the deadline and raises what it raises; then lets it continue."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=deadline.remaining)
        if done:
            task.result()
            return
        self._unfinished.add(task)
        task.add_done_callback(self._finished)

    async def settle(self, within: Deadline) -> None:
        """Waits until everything is written, or the deadline passes."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=within.remaining)

    async def finish(self, within: Deadline) -> None:
        """As `settle`, with the grace time; unfinished writes are then abandoned and reported."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=within.remaining_with_grace)
        late = list(self._unfinished)
        self._unfinished.clear()
        for task in late:
            task.cancel()
        if late:
            self._warn(
                f"{self._name}: {len(late)} entries were not stored: the store did not respond in time; see the report"
            )

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if task not in self._unfinished or task.cancelled():
            return
        self._unfinished.discard(task)
        problem = task.exception()
        if problem is not None:
            self._warn(
                f"an entry was not stored: {problem}" if isinstance(problem, RunnerError) else "an entry was not stored"
            )
