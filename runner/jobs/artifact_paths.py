"""Where a file goes that an API names: below its directory, or nowhere. No link is followed on the way.

The parts are opened one by one from the directory's descriptor, so that a link that appears meanwhile is refused too.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import ContractError, UsageError
from runner.external import show
from runner.jobs.log_files import opened_directory

MOST_PARTS = 16
LONGEST_PART = 200  # bytes; file systems take 255, and a temporary name is longer
LONGEST = 1024
MODE = 0o640
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: names of devices, with any extension
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a file's path. Raises ContractError for a path that might lead elsewhere, or to no plain file."""
    why = _unfit(name)
    if why:
        raise ContractError(f"the file name `{show(name, 120)}` {why}; it is not downloaded")
    return tuple(name.split("/"))


def _unfit(name: str) -> str | None:
    if not name or len(name.encode(errors="surrogatepass")) > LONGEST:
        return f"is empty, or longer than {LONGEST} bytes"
    if name.startswith(("/", "~")):
        return "is absolute"
    if "\\" in name or ":" in name or not name.isprintable():
        return "holds a backslash, a colon or a control character"
    parts = name.split("/")
    if len(parts) > MOST_PARTS:
        return f"has more than {MOST_PARTS} parts"
    return next((why for part in parts if (why := _unfit_part(part))), None)


def _unfit_part(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "has an empty part, `.` or `..`"
    if part != part.strip() or part.endswith("."):
        return "has a part that ends in a dot, or begins or ends with a space"
    if _DEVICE.fullmatch(part):
        return "names a device"
    if len(part.encode(errors="surrogatepass")) > LONGEST_PART:
        return f"has a part of more than {LONGEST_PART} bytes"
    return None


class Target:
    """A file that is being written beside its place, and put there at the end."""

    def __init__(self, directory: Path, parts: tuple[str, ...]) -> None:
        """Make its directories and an empty temporary file. Raises UsageError for links on the way and full disks."""
        self.path = directory.joinpath(*parts)
        self._name = parts[-1]
        self._temporary = f".{secrets.token_hex(6)}.part"
        with _told(self.path):
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
        with _told(self.path):
            self.file.write(chunk)

    def restart(self) -> None:
        """Begin again with an empty file. Raises UsageError."""
        with _told(self.path):
            self.file.seek(0)
            self.file.truncate()

    def keep(self) -> None:
        """Put the whole file into its place. Raises UsageError."""
        with _told(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            _refuse_other(self._folder, self._name)
            os.replace(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Close all; what was not kept is taken away."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._folder)
        os.close(self._folder)


def _walked(directory: Path, parts: tuple[str, ...]) -> int:
    """The last directory as a descriptor; each is made where it is missing. Raises OSError."""
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
    """Raises UsageError where something other than a regular file stands in the place."""
    import stat

    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise UsageError(
                f"artifacts.dir: {show(name, 120)}: a link, a directory or a device stands there; take it away"
            )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (
            "a link or a file stands in the place of a directory"
            if isinstance(error, NotADirectoryError)
            else error.strerror
        )
        raise UsageError(f"artifacts.dir: {show(str(path), 200)}: cannot be written ({why})") from None
