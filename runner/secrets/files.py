"""Secrets from a mounted directory: one file per secret, named after it."""

import os
from pathlib import Path

from runner.errors import SecretError
from runner.reading import NotRegular, in_time, regular
from runner.secrets.interface import Warn

MAX_BYTES = 64 * 1024  # a Kubernetes Secret may hold 1 MiB; a password or seed is far below 64 KiB


class FileSource:
    """A directory of secret files."""

    def __init__(self, directory: Path, warn: Warn) -> None:
        """`directory` need not exist."""
        self._directory = directory
        self._warn = warn

    def place(self, name: str) -> str | None:
        """Returns the file's path, also where it cannot be checked, so that reading it reports the reason."""
        path = self._directory / name
        try:
            found = in_time(lambda: _exists(path))
        except OSError:  # another user's directory, mode 0700
            found = True
        return str(path) if found else None

    def read(self, name: str) -> str | None:
        """Returns the content of the file."""
        return read_file(name, self._directory / name, self._warn, optional=True)

    def looked_at(self, name: str) -> str:
        """Returns the file's path."""
        return str(self._directory / name)


def read_file(name: str, path: Path, warn: Warn, *, optional: bool = False) -> str | None:
    """Returns the secret in the file; None where an optional one does not exist. Raises SecretError."""
    try:
        found = in_time(lambda: _contents(path, optional))
    except NotRegular:
        raise SecretError(f"{path}: not a regular file; put the secret into a regular file") from None
    except (OSError, ValueError) as error:
        fault = error.strerror if isinstance(error, OSError) else "not a path"  # a NUL in it
        raise SecretError(f"{path}: cannot be read ({fault}); check the mount and its owner and mode") from None
    if found is None:
        return None
    raw, exposed = found
    if len(raw) > MAX_BYTES:
        raise SecretError(f"{path}: larger than {MAX_BYTES} bytes; this is not a password or seed")
    if exposed:
        warn(name, f"{path} is readable by every user of this machine; chmod 0600 it")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not UTF-8 text; write the secret as plain text") from None
    return checked(_without_newline(text), str(path))


def _contents(path: Path, optional: bool) -> tuple[bytes, bool] | None:
    """Returns the bytes of a regular file, and whether every user can read it and its owner may change that."""
    if optional and not _exists(path):
        return None
    raw, mode = regular(path, MAX_BYTES)
    return raw, bool(mode & 0o007) and os.access(path.parent, os.W_OK) and _open_to_all(path)


def _exists(path: Path) -> bool:
    """Whether there is a file, or a link that may lead nowhere. Raises OSError where that cannot be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _open_to_all(path: Path) -> bool:
    """Whether the directories on the path let every user through."""
    return all(one.stat().st_mode & 0o001 for one in path.resolve().parents)


def _without_newline(text: str) -> str:
    """Removes one newline at the end, which editors and `echo` add; other spaces belong to a password."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def checked(text: str, source: str) -> str:
    """Returns the secret unchanged. Raises SecretError for an empty one, for bytes of a variable that are not UTF-8, and for
    control characters, except in a PEM key."""
    if not text:
        raise SecretError(f"{source}: empty; write the secret into it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise SecretError(f"{source}: not UTF-8 text; write the secret as plain text")
    plain = text.replace("\r\n", "").replace("\n", "") if text.startswith("-----BEGIN ") else text
    if any(ord(character) < 32 or ord(character) == 127 for character in plain):
        raise SecretError(f"{source}: contains a line break or another control character; write one line of text")
    return text
