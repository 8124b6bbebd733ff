"""Does file work on a daemon thread, so that a hanging file system delays neither the deadline nor a signal.

A directory on a dead NFS server, or a FIFO in place of a file, blocks a thread for ever. The process does not wait for
a daemon thread at its end.
"""
# Decision 0166.

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from runner.clock import GRACE, LEAST, Deadline
from runner.errors import DeadlineExceeded
from runner.threads import settle

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class FileWorker:
    """One thread, started at its first work, which runs everything in order."""

    def __init__(self) -> None:
        """Starts no thread yet."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._began: float | None = None  # the work in progress, by the monotonic clock

    async def run(self, work: Callable[[], T], deadline: Deadline, what: str) -> T:
        """Returns or raises what `work` does. Raises DeadlineExceeded, which names `what`, where it takes too long."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="state files", daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, done))
        try:
            async with asyncio.timeout(max(deadline.remaining_with_grace, 0.0 if self._hangs else LEAST)):
                return await done
        except TimeoutError:
            raise DeadlineExceeded(
                f"{what}: the file system did not answer before {deadline.what} ended; check the volume"
            ) from None

    async def acquire(self, work: Callable[[], T], deadline: Deadline, what: str, release: Callable[[T], None]) -> T:
        """As `run`. Where the wait ends without the result, by its time or a cancel, `release` gets it on the thread."""
        held: list[T] = []

        def kept() -> T:
            held.append(work())
            return held[0]

        try:
            return await self.run(kept, deadline, what)
        except BaseException:
            self.post(lambda: release(held[0]) if held else None)
            raise

    @property
    def _hangs(self) -> bool:
        """Whether earlier work used up its grace time and is not done: at the end of a run, one wait for a volume is enough."""
        began = self._began
        return began is not None and time.monotonic() - began > GRACE

    def post(self, work: Callable[[], None]) -> None:
        """Queues `work` without waiting for it. Its errors are lost."""
        if self._thread is not None:
            self._jobs.put((work, None))

    def close(self) -> None:
        """Ends the thread after the queued work."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            self._began = time.monotonic()
            if done is not None:
                settle(done, work)
            else:
                with suppress(Exception):
                    work()
            self._began = None
