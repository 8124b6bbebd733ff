"""Secrets from a mounted directory: one file per secret, named after it."""

import os
from pathlib import Path

from runner.errors import SecretError
from runner.reading import NotRegular, in_time, read_regular
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
            in_time(path.lstat)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # another user's directory, mode 0700
            return str(path)
        return str(path)

    def read(self, name: str) -> str | None:
        """Returns the content of the file."""
        path = self._directory / name
        try:
            in_time(path.lstat)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        return read_file(name, path, self._warn)

    def looked_at(self, name: str) -> str:
        """Returns the file's path."""
        return str(self._directory / name)


def read_file(name: str, path: Path, warn: Warn) -> str:
    """Reads the secret in the file. Raises SecretError."""
    raw, mode = _contents(path)
    if mode & 0o007 and os.access(path.parent, os.W_OK):
        warn(name, f"{path} is readable by every user of this machine; chmod 0600 it")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not UTF-8 text; write the secret as plain text") from None
    return checked(_without_newline(text), str(path))


def _contents(path: Path) -> tuple[bytes, int]:
    """Returns bytes and mode of a regular file."""
    try:
        raw, mode = read_regular(path, MAX_BYTES)
    except NotRegular:
        raise SecretError(f"{path}: not a regular file; put the secret into a regular file") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if len(raw) > MAX_BYTES:
        raise SecretError(f"{path}: larger than {MAX_BYTES} bytes; this is not a password or seed")
    return raw, mode


def _unreadable(path: Path, error: OSError | ValueError) -> SecretError:
    fault = error.strerror if isinstance(error, OSError) else "not a path"  # a NUL in it
    return SecretError(f"{path}: cannot be read ({fault}); check the mount and its owner and mode")


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
