"""Reads secrets from files (mounted, named by a variable, systemd credentials) or, with a warning, the environment.

Nothing here keeps or shows a secret; every fault names the file and never what stands in it.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.errors import SecretError

MAX_BYTES = 64 * 1024  # a Kubernetes Secret may hold 1 MiB; no password or seed comes near 64 KiB
_PREFIX = "SYNC_RUNNER_"


class SecretReader:
    """Finds secrets by name; strongest first: SYNC_RUNNER_X_FILE, SYNC_RUNNER_X, the directory, systemd's directory."""

    def __init__(
        self,
        directory: Path,
        *,
        environment: Mapping[str, str],
        use_environment: bool = True,
        warn: Callable[[str, str], None],
    ) -> None:
        """`warn` gets a secret's name and a warning. Without `use_environment` only `directory` counts."""
        self._directory = directory
        self._environment = environment if use_environment else {}
        self._warn = warn

    def read(self, name: str) -> str | None:
        """The secret, or None where it is given nowhere. Raises SecretError for one that can not be used."""
        variable = f"{_PREFIX}{name.upper()}"
        file, value = self._environment.get(f"{variable}_FILE"), self._environment.get(variable)
        if file and value:
            raise SecretError(f"{name}: both {variable} and {variable}_FILE are set; keep one, better the file")
        if file:
            return self._from_file(name, Path(file))
        if value:
            self._warn(
                name, f"{variable} stands in the environment, which other processes may read; use {variable}_FILE"
            )
            return _checked(value, variable)
        path = next((path for path in self._paths(name) if path.is_symlink() or path.exists()), None)
        return None if path is None else self._from_file(name, path)

    def require(self, name: str) -> str:
        """The secret. Raises SecretError that says where it was looked for."""
        value = self.read(name)
        if value is None:
            looked = ", ".join(str(path) for path in self._paths(name))
            also = f" or set {_PREFIX}{name.upper()}_FILE" if self._environment else ""
            raise SecretError(
                f"{name}: no such secret (looked at {looked}); mount the file there, give --secrets-dir{also}"
            )
        return value

    def _paths(self, name: str) -> list[Path]:
        systemd = self._environment.get("CREDENTIALS_DIRECTORY")
        return [self._directory / name, *([Path(systemd) / name] if systemd else [])]

    def _from_file(self, name: str, path: Path) -> str:
        raw, mode = _contents(path)
        if mode & 0o007 and os.access(path.parent, os.W_OK):
            self._warn(name, f"{path} can be read by every user of this machine; chmod 0600 it")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise SecretError(f"{path}: not UTF-8 text; write the secret as plain text") from None
        return _checked(_without_newline(text), str(path))


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
    except OSError as error:
        raise SecretError(
            f"{path}: can not be read ({error.strerror}); check the mount and its owner and mode"
        ) from None
    if len(raw) > MAX_BYTES:
        raise SecretError(f"{path}: larger than {MAX_BYTES} bytes; this is no password or seed")
    return raw, about.st_mode


def _without_newline(text: str) -> str:
    """Exactly one newline at the end goes, as editors and `echo` put it there; edge spaces belong to a password."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _checked(text: str, source: str) -> str:
    if not text:
        raise SecretError(f"{source}: empty; write the secret into it")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise SecretError(f"{source}: holds a line break or another control character; one line of text is wanted")
    return text
