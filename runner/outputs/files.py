"""Writes to an existing or new path: a regular file completely or not at all, a device, a pipe or a mounted file in
place.

Only a regular file is ever replaced: neither a device nor a link.
"""

import errno
import os
import re
import select
import stat
import tempfile
import time
from pathlib import Path

MODE = 0o644  # readable by other users: a CI server, the node exporter
_LINKS = 40  # as many as Linux follows
_CANNOT_REPLACE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def write_file(path: Path, text: str, seconds: float) -> str | None:
    """Writes `text`; abandons a pipe without a reader after this many seconds. Returns the error, or None.

    A reader of a regular file sees the old content or the new one, never a part. Only a file that cannot be replaced
    (it is mounted, or its directory is read-only) it is written in place.
    """
    data = text.encode(errors="replace")
    try:
        target = resolved(path)
        if isinstance(target, int):
            return _into_pipe(path, os.dup(target), data, seconds)
        if not target.exists() or target.is_file():
            return _replace(target, data)
        return _in_place(target, data, seconds)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror or type(error).__name__})"


def write_in_place(path: Path, text: str, seconds: float) -> str | None:
    """As `write_file`, but never replaces the file. Returns the error, or None."""
    try:
        return _in_place(path, text.encode(errors="replace"), seconds)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror or type(error).__name__})"


def append_file(path: Path, text: str, seconds: float) -> str | None:
    """Appends `text`. Returns the error, or None."""
    try:
        if path.is_fifo():
            return _in_place(path, text.encode(errors="replace"), seconds)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror or type(error).__name__})"
    return None


def resolved(path: Path) -> Path | int:
    """Resolves links; for `/dev/stdout` and other names of an open file of this process, returns its descriptor.

    Raises OSError for circular links.
    """
    at = path
    for _ in range(_LINKS):
        parent = Path(os.path.realpath(at.parent))
        if re.fullmatch(rf"/proc/{os.getpid()}(/task/\d+)?/fd", str(parent)) and at.name.isdecimal():
            return int(at.name)
        at = parent / at.name
        if not at.is_symlink():
            return at
        at = parent / at.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _replace(path: Path, data: bytes) -> str | None:
    temporary: Path | None = None
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else MODE
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".sync-runner.", suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if error.errno not in _CANNOT_REPLACE or not path.exists():
            raise
        path.write_bytes(data)
    return None


def _in_place(path: Path, data: bytes, seconds: float) -> str | None:
    """Writes in place. A pipe without a reader is opened repeatedly, without blocking."""
    if not stat.S_ISFIFO(path.stat().st_mode):
        path.write_bytes(data)
        return None
    end = time.monotonic() + seconds
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= end:
                return f"{path}: this pipe has no reader"
            time.sleep(0.01)
        else:
            return _into_pipe(path, descriptor, data, end - time.monotonic())


def _into_pipe(path: Path, descriptor: int, data: bytes, seconds: float) -> str | None:
    """Writes everything to the descriptor and closes it; stops when it is no longer read."""
    end = time.monotonic() + seconds
    view = memoryview(data)
    try:
        while view:
            ready = select.select([], [descriptor], [], max(0.0, end - time.monotonic()))[1]
            if not ready:
                return f"{path}: {len(data) - len(view)} of {len(data)} bytes were read, then the reader stopped"
            view = view[os.write(descriptor, view[:4096]) :]
    finally:
        os.close(descriptor)
    return None


def check_directory(path: Path) -> str | None:
    """Checks whether files can be written to the directory, which may not exist yet. Returns the error, or None."""
    found = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if not found.is_dir():
        return f"{found}: is not a directory"
    return None if os.access(found, os.W_OK | os.X_OK) else f"{found}: cannot be written; check its owner and mode"


def check_file(path: Path) -> str | None:
    """Returns the error that `write_file` would return, without writing, or None."""
    try:
        target = resolved(path)
        if not isinstance(target, int) and target.is_dir():
            return f"{path}: is a directory; give the path of a file"
        if isinstance(target, int) or (target.exists() and os.access(target, os.W_OK)):
            return None
        if target.exists():
            return f"{path}: cannot be written; check its owner and mode"
        if target.parent.is_dir() and os.access(target.parent, os.W_OK):
            return None
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror or type(error).__name__})"
    return f"{path}: cannot be written; its directory does not exist or is not writable"
