"""Secrets in files, one for each, named as the secret: a mounted directory."""

import os
import stat
from pathlib import Path

from runner.errors import SecretError
from runner.secrets.interface import Warn

MAX_BYTES = 64 * 1024  # a Kubernetes Secret may hold 1 MiB; no password or seed comes near 64 KiB


class FileSource:
    """A directory of secret files."""

    def __init__(self, directory: Path, warn: Warn) -> None:
        """`directory` need not exist."""
        self._directory = directory
        self._warn = warn

    def place(self, name: str) -> str | None:
        """The file, where there is one; also where it cannot be looked at, so that reading it says why."""
        path = self._directory / name
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # another user's directory, mode 0700
            return str(path)
        return str(path)

    def read(self, name: str) -> str | None:
        """The content of the file."""
        place = self.place(name)
        return None if place is None else read_file(name, Path(place), self._warn)

    def looked_at(self, name: str) -> str:
        """The file's path."""
        return str(self._directory / name)


def read_file(name: str, path: Path, warn: Warn) -> str:
    """The secret in the file. Raises SecretError."""
    raw, mode = _contents(path)
    if mode & 0o007 and os.access(path.parent, os.W_OK):
        warn(name, f"{path} can be read by every user of this machine; chmod 0600 it")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not UTF-8 text; write the secret as plain text") from None
    return checked(_without_newline(text), str(path))


def _contents(path: Path) -> tuple[bytes, int]:
    """Bytes and mode of a regular file. Links are followed: Kubernetes mounts secrets as links into `..data`."""
    try:
        # Without O_NONBLOCK a FIFO in the file's place would hang the run.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise SecretError(f"{path}: not a regular file; put the secret into a plain file")
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                raw = stream.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        fault = error.strerror if isinstance(error, OSError) else "not a path"
        raise SecretError(f"{path}: cannot be read ({fault}); check the mount and its owner and mode") from None
    if len(raw) > MAX_BYTES:
        raise SecretError(f"{path}: larger than {MAX_BYTES} bytes; this is no password or seed")
    return raw, about.st_mode


def _without_newline(text: str) -> str:
    """Exactly one newline at the end goes, as editors and `echo` put it there; edge spaces belong to a password."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def checked(text: str, source: str) -> str:
    """The secret as it is. Raises SecretError for an empty one and for control characters, but for the lines of a key in PEM."""
    if not text:
        raise SecretError(f"{source}: empty; write the secret into it")
    plain = text.replace("\r\n", "").replace("\n", "") if text.startswith("-----BEGIN ") else text
    if any(ord(character) < 32 or ord(character) == 127 for character in plain):
        raise SecretError(f"{source}: holds a line break or another control character; one line of text is wanted")
    return text
