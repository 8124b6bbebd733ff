"""What a thread has opened for a task that no longer waits is released."""

import asyncio
import threading
from contextlib import suppress

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded
from runner.state.file_worker import FileWorker

CLOCK = SystemClock()


@pytest.mark.parametrize("seconds", [30.0, 0.01])
def test_what_was_opened_for_a_wait_that_was_cancelled_or_too_long_is_released(seconds: float) -> None:
    go_on = threading.Event()
    released: list[object] = []

    async def work() -> None:
        worker = FileWorker()
        opening = asyncio.ensure_future(
            worker.acquire(
                lambda: go_on.wait(30) and "a lock",
                Deadline.after(CLOCK, seconds, "the time"),
                "the file",
                released.append,
            )
        )
        await asyncio.sleep(0)
        if seconds > 1:
            opening.cancel()
        with suppress(asyncio.CancelledError, DeadlineExceeded):
            await opening
        assert not released
        go_on.set()
        await worker.run(lambda: None, Deadline(CLOCK), "the file")
        worker.close()

    asyncio.run(work())
    assert released == ["a lock"]


def test_what_could_not_be_opened_is_not_released() -> None:
    async def work() -> None:
        worker = FileWorker()

        def refused() -> int:
            raise PermissionError

        with pytest.raises(PermissionError):
            await worker.acquire(refused, Deadline(CLOCK), "the file", lambda made: pytest.fail(str(made)))
        await worker.run(lambda: None, Deadline(CLOCK), "the file")
        worker.close()

    asyncio.run(work())
