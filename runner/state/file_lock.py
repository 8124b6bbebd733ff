"""A lock between processes: a permanent file, locked by the kernel, which releases it when the holder is killed."""
# Decision 0002.

import errno
import fcntl
import os
import random
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded


def open_lock(path: Path) -> int:
    """Returns the descriptor of the lock file, creating it if missing. Raises OSError; follows no link.

    Another user's file is refused, and one with another name or a device: another user could hold the lock for ever.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    about = os.fstat(descriptor)
    fault = "belongs to another user" if about.st_uid not in (0, os.geteuid()) else ""
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        fault = fault or "is no file of its own (a device, a pipe or a hard link)"
    if fault:
        os.close(descriptor)
        raise PermissionError(errno.EPERM, f"{fault}; remove it", str(path))
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Locks it, unless another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def held(path: Path, what: str, clock: Clock, deadline: Deadline) -> AsyncIterator[None]:
    """Holds the lock. Raises OSError, or DeadlineExceeded where another process holds it too long."""
    descriptor = open_lock(path)
    try:
        pause = 0.005
        while not try_lock(descriptor):
            if deadline.expired:
                raise DeadlineExceeded(f"{path}: another sync-runner held {what} until {deadline.what} ended")
            await clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, 0.25)
        yield
    finally:
        os.close(descriptor)
