"""Files named after external text: names that cannot leave their directory, and a log file with a size limit."""

import hashlib
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path

from runner.errors import UsageError

MODE = 0o600  # what a job writes may be confidential
LAST_LINES = 50
RESERVED = 1 << 14  # bytes of a log file that are reserved for its last lines
_UNFIT = re.compile(r"[^A-Za-z0-9._=@+-]+")
_LONGEST = 60  # characters of one part of a name


def safe_name(text: str, raw: str | None = None) -> str:
    """Returns `text` as one part of a file name: letters, digits and `._=@+-`, at most 73 characters, no leading dot.

    Different texts never get the same name: a changed text gets a part of its SHA-256. `raw` is the text before it was
    made printable, if it was.
    """
    raw = text if raw is None else raw
    plain = _UNFIT.sub("_", text)[:_LONGEST].lstrip(".-") or "_"
    if plain == raw:
        return plain
    return f"{plain}-{hashlib.sha256(raw.encode(errors='surrogatepass')).hexdigest()[:12]}"


def opened_directory(path: Path) -> int:
    """Opens the directory as a descriptor and creates it where it is missing. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


class LogFile:
    """One job's log on disk, at most `limit` bytes: its beginning and its last lines. For printable text."""

    def __init__(self, directory: Path, name: str, limit: int) -> None:
        """Creates the file: deletes an old one of this name and follows no link. Raises UsageError."""
        self.path = directory / name
        self._room = limit - RESERVED if limit > 2 * RESERVED else limit // 2
        self._reserved = limit - self._room - 200
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._left_out = 0
        try:
            folder = opened_directory(directory)
            try:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                self._file = os.fdopen(os.open(name, flags, MODE, dir_fd=folder), "wb")
            finally:
                os.close(folder)
        except OSError as error:
            raise UsageError(
                f"logs.dir: {self.path}: cannot be written ({error.strerror}); check owner and mode"
            ) from None

    @property
    def full(self) -> bool:
        """Whether only the last lines are still needed."""
        return self._left_out > 0

    def write(self, text: str) -> None:
        """Appends text. Raises OSError."""
        raw = text.encode(errors="replace")
        if not self.full:
            fits = len(raw) if len(raw) <= self._room else raw.rfind(b"\n", 0, self._room) + 1
            self._file.write(raw[:fits])
            self._room -= fits
            raw = raw[fits:]
        self._left_out += len(raw)

    def flush(self) -> None:
        """Flushes the file for readers. Raises OSError."""
        self._file.flush()

    def end(self, last: list[str], left_out: int = 0) -> None:
        """Closes the file; a full one ends with the `last` lines. `left_out`: further bytes. Raises OSError."""
        with self._file:
            if not self.full:
                return
            self._file.write(f"\n[... {self._left_out + left_out} bytes left out (logs.max_bytes) ...]\n".encode())
            kept = "\n".join(last).encode(errors="replace")[-max(0, self._reserved) :]
            self._file.write(kept.decode(errors="ignore").encode() + b"\n")
