"""Where an account's state is kept between runs: a file, or memory.

The file is replaced whole (temporary file, fsync, rename), mode 0600, never reached through a link; the lock file
beside it is permanent, so that two processes can never hold locks on two different files of the same name.
"""

import errno
import hashlib
import os
import random
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Protocol

from runner.clock import Clock, Deadline
from runner.errors import SecretError
from runner.state.file_lock import held
from runner.state.record import AccountState, Codec

MAX_BYTES = 1 << 20
KEPT_CORRUPT = 3  # set-aside files kept for a look; older ones go
STALE_SECONDS = 3600.0  # a temporary file that old is a killed writer's


class Store(Protocol):
    """Keeps one account's state."""

    def load(self) -> AccountState:
        """What is kept; an empty state where nothing is."""

    def save(self, stored: AccountState) -> None:
        """Keep it instead of what was kept."""

    def lock(self, deadline: Deadline) -> AbstractAsyncContextManager[None]:
        """Hold the account for a login or refresh. Raises DeadlineExceeded."""


class MemoryStore:
    """State for the length of one process."""

    def __init__(self) -> None:
        """Nothing kept yet."""
        self._stored = AccountState()

    def load(self) -> AccountState:
        """What was saved last."""
        return self._stored

    def save(self, stored: AccountState) -> None:
        """Keep it."""
        self._stored = stored

    @asynccontextmanager
    async def lock(self, deadline: Deadline) -> AsyncIterator[None]:  # noqa: ARG002 - a process has it alone
        """Nobody else can hold it."""
        yield


class FileStore:
    """State in one file of the state directory, shared by processes."""

    def __init__(
        self, directory: Path, name: str, clock: Clock, warn: Callable[[str], None], codec: Codec | None = None
    ) -> None:
        """`directory` must exist. `warn` is told of files that were set aside."""
        self._directory = directory
        self._path = directory / f"{name}.json"
        self._lock = directory / f"{name}.lock"
        self._clock = clock
        self._warn = warn
        self._codec = codec or Codec()
        _remove_stale(directory, clock)  # type: ignore[arg-type] # a clock hashes by identity

    def load(self) -> AccountState:
        """What is kept. A file that can not be believed is set aside, and an empty state returned."""
        try:
            raw, mtime = self._read()
        except FileNotFoundError:
            return AccountState()
        try:
            return self._codec.decode(raw)
        except SecretError as error:
            raise SecretError(f"{self._path}: {error}") from None
        except ValueError:
            return self._set_aside(mtime)

    def _set_aside(self, mtime: float) -> AccountState:
        aside = self._path.with_suffix(f".corrupt-{self._clock.time():.0f}")
        # Its last step is lost: every step up to its last writing counts as used, for all who come after too.
        state = AccountState(assume_used_until=mtime)
        try:
            self._path.rename(aside)
        except FileNotFoundError:  # another process was faster
            return state
        except OSError as error:
            raise SecretError(f"{self._path}: broken, and can not be set aside ({error.strerror}); remove it") from None
        self.save(state)
        self._drop_old_corrupt()
        self._warn(f"{self._path}: not a readable token file; set aside as {aside.name}, a fresh login follows")
        return state

    def save(self, stored: AccountState) -> None:
        """Replace the file whole. Raises SecretError naming file and fault; the old file then stands as it was."""
        temporary = self._directory / f".{self._path.name}.{os.getpid()}.{random.getrandbits(48):012x}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(self._codec.encode(stored))
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(self._path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            self._sync_directory()
        except OSError as error:
            raise SecretError(
                f"{self._path}: the session can not be kept ({error.strerror}); check space and rights of state.dir"
            ) from None

    @asynccontextmanager
    async def lock(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold the account's lock file. Raises DeadlineExceeded when another process holds it too long."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(held(self._lock, "the login lock", self._clock, deadline))
            except OSError as error:
                raise SecretError(f"{self._lock}: can not be opened ({error.strerror}); check state.dir") from None
            yield

    def _read(self) -> tuple[bytes, float]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return self._contents(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            fault = "is a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
            raise SecretError(f"{self._path}: {fault}; remove it, a fresh login follows") from None

    def _contents(self, descriptor: int) -> tuple[bytes, float]:
        """Bytes and time of writing. What is longer than MAX_BYTES is no token file, cut off or not."""
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise SecretError(f"{self._path}: not a regular file; remove it, a fresh login follows")
        if about.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
            self._warn(f"{self._path}: was open to other users (mode {about.st_mode & 0o777:04o}); closed to 0600")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES), about.st_mtime

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _drop_old_corrupt(self) -> None:
        for path in sorted(self._directory.glob(f"{self._path.stem}.corrupt-*"))[:-KEPT_CORRUPT]:
            with suppress(OSError):
                path.unlink()


@cache
def _remove_stale(directory: Path, clock: Clock) -> None:
    """Once a run: with thousands of accounts there are thousands of files to look through."""
    for path in directory.glob(".*.tmp"):
        with suppress(OSError):
            if clock.time() - path.lstat().st_mtime > STALE_SECONDS:
                path.unlink()


def account_key(base_url: str, username: str) -> str:
    """The name under which an account's state is kept: a hash, so that no file name tells a user's name."""
    return hashlib.sha256(f"{base_url}\n{username}".encode()).hexdigest()[:32]


def open_store(
    directory: Path | None,
    base_url: str,
    username: str,
    clock: Clock,
    warn: Callable[[str], None],
    codec: Codec | None = None,
) -> Store:
    """The account's store in `directory`/sessions; in memory, with a warning, where that can not be written."""
    if directory is None:
        return MemoryStore()
    sessions = directory / "sessions"
    try:
        sessions.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = os.open(sessions / ".writable", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(probe)
    except OSError as error:
        warn(f"{sessions}: can not be written ({error.strerror}); sessions are kept in memory only")
        return MemoryStore()
    return FileStore(sessions, account_key(base_url, username), clock, warn, codec)
