"""Maps a file name from the API to a path below its directory, or refuses it. Follows no link.

The parts are opened one by one from the directory's descriptor, so a link that appears later is refused too.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import ContractError, UsageError
from runner.external import show
from runner.jobs.log_files import opened_directory
from runner.profile.file_names import unfit

MODE = 0o640


def parts_of(name: str) -> tuple[str, ...]:
    """Returns the parts of a file's path. Raises ContractError for a path that may lead elsewhere, or to no regular file."""
    why = unfit(name)
    if why:
        raise ContractError(f"the file name `{show(name, 120)}` {why}; it is not downloaded")
    return tuple(name.split("/"))


class Target:
    """A file that is written next to its final path and then moved there."""

    def __init__(self, directory: Path, parts: tuple[str, ...]) -> None:
        """Creates its directories and an empty temporary file. Raises UsageError for links on the path and full disks."""
        self.path = directory.joinpath(*parts)
        self._name = parts[-1]
        self._temporary = f".{secrets.token_hex(6)}.part"
        with _write_errors(self.path):
            self._folder = _walked(directory, parts[:-1])
            try:
                _refuse_other(self._folder, self._name)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                self.file = os.fdopen(os.open(self._temporary, flags, MODE, dir_fd=self._folder), "wb")
            except BaseException:
                os.close(self._folder)
                raise

    def write(self, chunk: bytes) -> None:
        """Add to the file. Raises UsageError."""
        with _write_errors(self.path):
            self.file.write(chunk)

    def restart(self) -> None:
        """Restarts with an empty file. Raises UsageError."""
        with _write_errors(self.path):
            self.file.seek(0)
            self.file.truncate()

    def keep(self) -> None:
        """Moves the complete file to its path. Raises UsageError."""
        with _write_errors(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            _refuse_other(self._folder, self._name)
            os.replace(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Closes everything; removes what was not kept."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._folder)
        os.close(self._folder)


def _walked(directory: Path, parts: tuple[str, ...]) -> int:
    """Opens the last directory as a descriptor; creates missing ones. Raises OSError."""
    folder = opened_directory(directory)
    for part in parts:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _refuse_other(folder: int, name: str) -> None:
    """Raises UsageError where something other than a regular file is at the path."""
    import stat

    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise UsageError(f"artifacts.dir: {show(name, 120)}: a link, a directory or a device is there; remove it")


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (
            "a link or a file is in the place of a directory"
            if isinstance(error, NotADirectoryError)
            else error.strerror
        )
        raise UsageError(f"artifacts.dir: {show(str(path), 200)}: cannot be written ({why})") from None
