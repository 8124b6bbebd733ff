"""Reads small files that may be anything: a FIFO, a device, a file on a mount that hangs."""
# Decision 0203.

import errno
import os
import queue
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

T = TypeVar("T")
SECONDS = 5.0  # for what takes milliseconds; a signal leaves 8 s for everything


class NotRegular(OSError):
    """A FIFO, a device or a directory in place of a file."""


def read_regular(path: Path, limit: int) -> tuple[bytes, int]:
    """Returns the file's bytes, `limit` + 1 of them at most, and its mode. Follows links: Kubernetes mounts secrets as links.

    Raises NotRegular, OSError, and ValueError for a NUL in the path.
    """
    return in_time(lambda: regular(path, limit))


def in_time(work: Callable[[], T]) -> T:
    """Returns or raises what `work` does with files. Raises OSError where the file system does not answer within 5 s.

    A daemon thread does the work, so that signals are handled, and the process can end, while it hangs.
    """
    reader = _Reader.current()
    done, found = threading.Event(), list[T]()
    failed: list[BaseException] = []

    def act() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - the waiting thread gets it
            failed.append(error)
        done.set()

    reader.jobs.put(act)
    if not done.wait(SECONDS):
        reader.give_up()
        raise OSError(errno.ETIMEDOUT, f"the file system did not answer within {SECONDS:.0f} s")
    for error in failed:
        raise error
    return found[0]


class _Reader:
    """One thread for all files, until it hangs: a new thread for each costs 0.3 ms instead of 0.04."""

    _one: ClassVar["_Reader | None"] = None

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="files", daemon=True)
        self._thread.start()

    @classmethod
    def current(cls) -> "_Reader":
        """The process's own: a fork has none of its threads."""
        one = cls._one
        if one is None or not one._thread.is_alive():
            cls._one = one = cls()
        return one

    def give_up(self) -> None:
        """The next work gets another thread."""
        if _Reader._one is self:
            _Reader._one = None

    def _work(self) -> None:
        while True:
            self.jobs.get()()


def regular(path: Path, limit: int) -> tuple[bytes, int]:
    """As `read_regular`, on this thread: for `in_time`, with other calls on files."""
    # Without O_NONBLOCK, a FIFO in place of the file would hang the thread.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise NotRegular(errno.EINVAL, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit + 1), about.st_mode
    finally:
        os.close(descriptor)
