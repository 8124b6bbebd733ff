"""File work on a daemon thread, so that a file system that hangs delays neither the deadline nor a signal.

A directory on a dead NFS server or a FIFO in a file's place blocks a thread for ever. The thread is a daemon, which the
process does not wait for at its end.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from runner.clock import Deadline
from runner.errors import DeadlineExceeded

T = TypeVar("T")
GRACE = 0.15  # seconds for file work after the deadline: it takes milliseconds, and deadlines hold within 250 ms

_Job = tuple[Callable[[], Any], "asyncio.AbstractEventLoop | None", "asyncio.Future[Any] | None"]


class FileWorker:
    """One thread, started at its first work, which does everything in order."""

    def __init__(self) -> None:
        """No thread yet."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T], deadline: Deadline, what: str) -> T:
        """What `work` returns or raises. Raises DeadlineExceeded, which names `what`, where it takes too long."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="state files", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, loop, done))
        remaining = max(deadline.remaining, GRACE)
        try:
            async with asyncio.timeout(None if remaining == float("inf") else remaining):
                return await done
        except TimeoutError:
            raise DeadlineExceeded(
                f"{what}: the file system did not answer until {deadline.what} ended; check the volume"
            ) from None

    def post(self, work: Callable[[], None]) -> None:
        """Do `work` after all that was asked before, and let nobody wait for it. Its errors are lost."""
        if self._thread is not None:
            self._jobs.put((work, None, None))

    def close(self) -> None:
        """Let the thread end after what it was asked before."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, loop, done = job
            try:
                result, error = work(), None
            except BaseException as caught:  # noqa: BLE001 - whoever waits gets it
                result, error = None, caught
            if loop is None or done is None:
                continue
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, done, result, error)


def _settle(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
