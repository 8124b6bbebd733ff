"""What ends a run that hangs, and what hears asyncio complain."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANG_SECONDS = 60


class Hang(Exception):
    """A run took too long."""


@contextmanager
def alarm() -> Iterator[None]:
    """Raises Hang after `HANG_SECONDS`."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What asyncio logs of tasks that failed unseen."""
    found: list[str] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Note(logging.WARNING)
    logging.getLogger("asyncio").addHandler(handler)
    yield found
    logging.getLogger("asyncio").removeHandler(handler)
