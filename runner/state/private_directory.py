"""A directory that only this user may change, held open, and its files. Links are never followed below it.

Every file is opened relative to the open directory (openat), so that a replaced path has no effect.
Files are made with mode 0600 and directories with 0700. The rules are in decision 0065.
"""

import errno
import os
import random
import stat
from contextlib import suppress
from pathlib import Path

from runner.errors import StateError, file_limit

MAX_BYTES = 1 << 20  # an account's state has a few kilobytes
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class PrivateDirectory:
    """An open directory. `path` names it in messages."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `PrivateDirectory.open` or `below` instead."""
        self.path = path
        self._descriptor = descriptor
        # Kubernetes gives every file of a volume to the pod's fsGroup at each mount, and marks directories setgid.
        self._volume_group = _volume_group(os.fstat(descriptor))

    @classmethod
    def open(cls, path: Path) -> "PrivateDirectory":
        """Opens `path`, creating it if missing. Raises StateError where other users may change it."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_symlink() and not _trusted(path.lstat()):
                raise StateError(f"{path}: is a link that another user created; name the directory itself")
            descriptor = os.open(path, _DIRECTORY)
        except OSError as error:
            raise _unusable(path, error) from None
        return cls._checked(path, descriptor)

    def below(self, name: str) -> "PrivateDirectory":
        """Returns the directory `name` in this one, creating it if missing. Raises StateError."""
        path = self.path / name
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._descriptor)
            descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._descriptor)
        except OSError as error:
            raise _unusable(path, error) from None
        return self._checked(path, descriptor)

    @classmethod
    def _checked(cls, path: Path, descriptor: int) -> "PrivateDirectory":
        about = os.fstat(descriptor)
        problem = None if _trusted(about) else f"belongs to another user (uid {about.st_uid})"
        if not problem and about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX and _volume_group(about) is None:
            problem = f"other users may write it (mode {stat.S_IMODE(about.st_mode):04o})"
        if problem:
            os.close(descriptor)
            raise StateError(
                f"{path}: {problem}; set state.dir to a directory of mode 0700, or to a new name below {path}, which "
                "sync-runner creates"
            )
        return cls(path, descriptor)

    def close(self) -> None:
        """Closes the directory."""
        os.close(self._descriptor)

    def open_file(self, name: str, flags: int) -> int:
        """Returns a descriptor of the regular file `name`, created with mode 0600 where `flags` has O_CREAT.

        Raises FileNotFoundError, and StateError for what is not a file of ours.
        """
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        except FileNotFoundError as error:
            if flags & os.O_CREAT:  # the directory was removed
                raise _unusable(self.path, error) from None
            raise
        except OSError as error:
            if limit := file_limit(error):
                raise StateError(f"{self.path / name}: {limit}") from None
            fault = "is a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
            raise StateError(f"{self.path / name}: {fault}; remove it") from None
        try:
            self._check_file(name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_file(self, name: str, descriptor: int) -> None:
        about, path = os.fstat(descriptor), self.path / name
        if not stat.S_ISREG(about.st_mode):
            raise StateError(f"{path}: not a regular file; remove it")
        if not _trusted(about):
            raise StateError(f"{path}: belongs to another user (uid {about.st_uid}); remove it")
        if about.st_nlink > 1:
            raise StateError(f"{path}: has another name (a hard link); remove it")
        if about.st_mode & 0o022 and not (self._volume_group == about.st_gid and not about.st_mode & 0o002):
            raise StateError(
                f"{path}: other users may write it (mode {stat.S_IMODE(about.st_mode):04o}); check it, then chmod 0600"
            )

    def make_private(self, name: str) -> None:
        """Creates the file if missing, and removes other users' access from an existing one. Raises StateError."""
        descriptor = self.open_file(name, os.O_RDWR | os.O_CREAT)
        try:
            self._close_to_others(descriptor, os.fstat(descriptor))
        except OSError as error:
            raise StateError(f"{self.path / name}: {error.strerror}; remove it") from None
        finally:
            os.close(descriptor)

    def read(self, name: str) -> tuple[bytes, os.stat_result]:
        """Returns at most MAX_BYTES + 1 bytes of the file, and its status before its mode was corrected."""
        descriptor = self.open_file(name, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as stream:
            about = os.fstat(descriptor)
            try:
                self._close_to_others(descriptor, about)
                return stream.read(MAX_BYTES + 1), about
            except OSError as error:
                raise StateError(f"{self.path / name}: {error.strerror}; remove it") from None

    def _close_to_others(self, descriptor: int, about: os.stat_result) -> None:
        if about.st_mode & 0o077 and about.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)

    def replace(self, name: str, content: bytes) -> None:
        """Replaces the file: a temporary file, fsync, rename. Raises OSError; the old file is then unchanged."""
        temporary = f".{name}.{os.getpid()}.{random.getrandbits(48):012x}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            self.rename(temporary, name)
        except BaseException:
            self.remove(temporary)
            raise
        os.fsync(self._descriptor)

    def rename(self, name: str, other: str) -> None:
        """Renames the file. Raises OSError."""
        os.rename(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Removes the file where possible."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._descriptor)

    def names(self) -> list[str]:
        """Returns the names in the directory, sorted."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208 - by descriptor

    def written_at(self, name: str) -> float:
        """Returns when the file was written, in Unix seconds. Raises OSError."""
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mtime


def _trusted(about: os.stat_result) -> bool:
    return about.st_uid in (0, os.geteuid())


def _volume_group(about: os.stat_result) -> int | None:
    """Returns the group of a volume, if it is one of ours and no other user may write."""
    shared = about.st_mode & stat.S_ISGID and not about.st_mode & 0o002
    ours = about.st_gid == os.getegid() or about.st_gid in os.getgroups()
    return about.st_gid if shared and ours else None


def _unusable(path: Path, error: OSError) -> StateError:
    fault = "is a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
    return StateError(f"{path}: cannot be used ({fault}); check state.dir, its owner and its mode")
