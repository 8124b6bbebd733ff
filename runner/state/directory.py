"""State in files: one per account below `sessions`, replaced as a whole, with a permanent lock file each.

The lock file is never removed, so that two processes cannot lock two different files of the same name.
"""

import os
import random
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, SecretError, StateError
from runner.state.file_lock import try_lock
from runner.state.file_worker import FileWorker
from runner.state.interface import FINISH_SECONDS, AccountOptions, LoadedState
from runner.state.private_directory import MAX_BYTES, PrivateDirectory
from runner.state.record import AccountState

_RECORD = re.compile(r"[0-9a-f]{32}\.json")
KEPT_CORRUPT = 3  # set-aside files kept for inspection; older ones are deleted
STALE_SECONDS = 3600.0  # an older temporary file belongs to a killed writer

_Loaded = tuple[AccountState, list[str]]  # the state, and warnings


class DirectoryState:
    """The state directory. Opened at the first account's use."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Opens nothing yet: a directory may hang."""
        self.path = directory
        self.name = f"directory {directory}"
        self.clock = clock
        self.worker = FileWorker()
        self._sessions: PrivateDirectory | None = None

    def account(self, key: str, options: AccountOptions) -> "DirectoryStore":
        """Returns the account's store."""
        return DirectoryStore(self, key, options)

    def sessions(self) -> PrivateDirectory:
        """Returns the directory of the accounts' files; runs on the thread. Raises StateError."""
        if self._sessions is None:
            top = PrivateDirectory.open(self.path)
            try:
                opened = top.below("sessions")
            finally:
                top.close()
            self._remove_stale(opened)
            self._sessions = opened
        return self._sessions

    async def keys(self, deadline: Deadline) -> list[str]:
        """As in StateInventory."""
        names = await self.worker.run(lambda: self.sessions().names(), deadline, str(self.path))
        return [name.removesuffix(".json") for name in names if _RECORD.fullmatch(name)]

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """As in StateInventory; a process that used an account wrote its file."""
        from runner.state.ledger_upkeep import prune_sessions

        before = self.clock.time() - keep
        return await self.worker.run(partial(prune_sessions, self.path, before), deadline, str(self.path))

    def _remove_stale(self, sessions: PrivateDirectory) -> None:
        for name in sessions.names():
            if name.startswith(".") and name.endswith(".tmp"):
                with suppress(OSError):
                    if self.clock.time() - sessions.written_at(name) > STALE_SECONDS:
                        sessions.remove(name)

    async def close(self) -> None:
        """Ends the thread. The process's exit closes the directory: the thread may hang in it."""
        self.worker.close()


class DirectoryStore:
    """One account's file, shared by processes."""

    def __init__(self, place: DirectoryState, key: str, options: AccountOptions) -> None:
        """`place` is the directory, `key` the account's name in it."""
        self._place = place
        self._name, self._lock = f"{key}.json", f"{key}.lock"
        self.path = place.path / "sessions" / self._name
        self._codec, self._warn = options.codec, options.warn

    async def read(self, deadline: Deadline) -> AccountState:
        """Reads the stored state."""
        loaded = await self._place.worker.run(self._load, deadline, str(self.path))
        return self._warned(loaded).believable(self._place.clock.time())

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:
        """Holds the account's lock file."""
        run, path, clock = self._place.worker.run, str(self.path), self._place.clock

        async def finish(state: AccountState | None) -> None:
            within = Deadline.after(clock, FINISH_SECONDS, "the time to save").min(deadline)
            await run(partial(self._finish, descriptor, state), within, path)

        acquire = self._place.worker.acquire
        descriptor, loaded = await acquire(self._first_try, deadline, path, lambda made: os.close(made[0]))
        try:
            state = await self._locked(descriptor, deadline) if loaded is None else self._warned(loaded)
            held = LoadedState(state, clock.time(), self._saver(deadline))
        except BaseException:
            await finish(None)
            raise
        async with held.finished_by(finish, self._warn):
            yield held

    async def _locked(self, descriptor: int, deadline: Deadline) -> AccountState:
        """Returns the state, once locked. Raises DeadlineExceeded when another process holds the lock too long."""
        pause, path, clock = 0.005, str(self.path), self._place.clock
        while (loaded := await self._place.worker.run(lambda: self._load_locked(descriptor), deadline, path)) is None:
            if deadline.expired:
                lock = self.path.with_name(self._lock)
                raise DeadlineExceeded(f"{lock}: another sync-runner held the login lock until {deadline.what} ended")
            await clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, 0.25)
        return self._warned(loaded)

    def _saver(self, deadline: Deadline) -> Callable[[AccountState], Awaitable[None]]:
        return lambda state: self._place.worker.run(partial(self._save, state), deadline, str(self.path))

    def _warned(self, loaded: _Loaded) -> AccountState:
        state, warnings = loaded
        for warning in warnings:
            self._warn(warning)
        return state

    def _open_lock(self) -> int:
        return self._place.sessions().open_file(self._lock, os.O_RDWR | os.O_CREAT)

    def _first_try(self) -> tuple[int, _Loaded | None]:
        """Returns the open lock file, and the state where no other process holds the lock: usually in one job of the thread."""
        descriptor = self._open_lock()
        try:
            return descriptor, self._load_locked(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def _load_locked(self, descriptor: int) -> _Loaded | None:
        return self._load() if try_lock(descriptor) else None

    def _finish(self, descriptor: int, state: AccountState | None) -> None:
        try:
            if state is not None:
                self._save(state)
        finally:
            os.close(descriptor)

    def _load(self) -> _Loaded:
        """Returns the state and warnings. An invalid file is set aside, and an empty state returned."""
        sessions = self._place.sessions()
        try:
            raw, about = sessions.read(self._name)
        except FileNotFoundError:
            return AccountState(), []
        warnings = []
        if about.st_mode & 0o077:
            mode = f"{stat.S_IMODE(about.st_mode):04o}"
            warnings.append(f"{self.path}: was accessible to other users (mode {mode}); changed to 0600")
        try:
            if len(raw) > MAX_BYTES:
                raise ValueError
            return self._codec.decode(raw), warnings
        except (SecretError, StateError) as error:
            raise type(error)(f"{self.path}: {error}") from None
        except ValueError:
            return self._set_aside(sessions, about.st_mtime, warnings)

    def _set_aside(self, sessions: PrivateDirectory, written: float, warnings: list[str]) -> _Loaded:
        aside = f"{self.path.stem}.corrupt-{self._place.clock.time():.0f}"
        # The last step is lost: every step up to the last write counts as used, for all later processes too.
        state = AccountState(assume_used_until=written)
        try:
            sessions.rename(self._name, aside)
        except FileNotFoundError:  # another process was faster
            return state, warnings
        except OSError as error:
            raise StateError(f"{self.path}: corrupt, and cannot be set aside ({error.strerror}); remove it") from None
        self._save(state)
        for name in [name for name in sessions.names() if name.startswith(f"{self.path.stem}.corrupt-")][
            :-KEPT_CORRUPT
        ]:
            sessions.remove(name)
        warnings.append(f"{self.path}: not a readable state file; set aside as {aside}, a new login follows")
        return state, warnings

    def _save(self, state: AccountState) -> None:
        """Replaces the file as a whole. Raises StateError naming file and fault; the old file is then unchanged."""
        try:
            self._place.sessions().replace(self._name, self._codec.encode(state))
        except OSError as error:
            raise StateError(
                f"{self.path}: the session cannot be stored ({error.strerror}); check space and permissions of state.dir"
            ) from None
