"""The ledger in SQLite, for one machine: on its own thread, so that a slow disk does not block the event loop.

Without a directory it is in memory, and needs no thread.
"""
# Decisions 0008, 0130.

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, StateError
from runner.external import ExternalText
from runner.limiter import FairLimiter
from runner.models import JSON
from runner.state.entry import Entry
from runner.state.file_lock import open_lock, try_lock
from runner.state.file_worker import FileWorker
from runner.state.interface import FINISH_SECONDS, EndlessTurn, Turn, trigger_key
from runner.state.ledger import BUSY, Ledger, LedgerBusy, LedgerCorrupt
from runner.state.ledger_upkeep import retire, set_aside
from runner.state.write_behind import WriteBehind

if TYPE_CHECKING:
    from runner.state.sqlite_inventory import SqliteInventory

T = TypeVar("T")
BEGINNING = 100  # syncs between intent and job at once: each has two lock files open, the sync's and its account's


class SqliteLedger:
    """The ledger of one process. Every method raises UsageError, or DeadlineExceeded."""

    def __init__(
        self,
        directory: Path | None,
        clock: Clock,
        *,
        redact: Callable[[str], str] = str,
        warn: Callable[[str], None] = lambda _problem: None,
        keep: float | None = None,
    ) -> None:
        """In `directory`, or in memory for None. Opens nothing yet. Entries older than `keep` seconds are deleted at the end."""
        self._directory, self._clock, self._redact, self._warn, self._keep = directory, clock, redact, warn, keep
        self._worker = None if directory is None else FileWorker()
        self._file: Ledger | None = None
        self._limiter = FairLimiter(BEGINNING)
        self._turns: WeakValueDictionary[str, FairLimiter] = WeakValueDictionary()
        self._behind = WriteBehind(str(directory), warn)

    @property
    def inventory(self) -> "SqliteInventory":
        """For `sync-runner state`."""
        from runner.state.sqlite_inventory import SqliteInventory

        return SqliteInventory(self._do, self._clock)

    async def open(self, deadline: Deadline) -> None:
        """Opens the file. Waits for other processes that open it: LedgerBusy reports that this took too long."""
        await self._once(lambda _ledger: None, deadline)

    async def close(self, deadline: Deadline) -> None:
        """Finishes pending writes, for a short time, and closes the file."""
        within = Deadline.after(self._clock, FINISH_SECONDS, "the time to finish").min(deadline)
        await self._behind.finish(within)
        if self._worker is None:
            self._close()
            return
        with suppress(DeadlineExceeded):
            await self._worker.run(self._close, within, str(self._directory))
        self._worker.close()

    def _close(self) -> None:
        ledger, self._file = self._file, None
        if ledger is None:
            return
        try:
            if self._keep is not None and self._directory is not None:
                retire(ledger, self._directory, self._clock.time(), self._keep)
        finally:
            ledger.close()

    async def intend(self, entry: Entry, deadline: Deadline) -> None:
        """As in JobLedger."""
        await self._do(lambda ledger: ledger.intend(entry), deadline)

    async def lease(self, key: str, holder: str, *, now: float, until: float, deadline: Deadline) -> bool:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.lease(key, holder, now=now, until=until), deadline)

    async def renew(
        self, holders: Mapping[str, str], *, now: float, until: float, deadline: Deadline
    ) -> frozenset[str]:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.renew(holders, now=now, until=until), deadline)

    async def watched(self, key: str, now: float, deadline: Deadline) -> bool:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.watched(key, now), deadline)

    async def triggered(
        self,
        key: str,
        job_id: ExternalText | str,
        deadline: Deadline,
        *,
        external: bool = False,
        carried: Mapping[str, JSON] | None = None,
    ) -> None:
        """As in JobLedger."""
        await self._write(lambda ledger: ledger.triggered(key, job_id, external=external, carried=carried), deadline)

    async def ended(
        self,
        key: str,
        outcome: str,
        at: float,
        deadline: Deadline,
        *,
        processed: int | None = None,
        error: str | None = None,
    ) -> None:
        """As in JobLedger."""
        await self._write(lambda ledger: ledger.ended(key, outcome, at, processed=processed, error=error), deadline)

    async def open_entry(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        await self._behind.settle(deadline)  # an unwritten end would look like an open sync
        return await self._do(lambda ledger: ledger.open_entry(target, name), deadline)

    async def last_success(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.last_success(target, name), deadline)

    async def completed_under(self, target: str, name: str, run_key: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.completed_under(target, name, run_key), deadline)

    async def newest(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.newest(target, name), deadline)

    async def of_job(self, target: str, job_id: ExternalText | str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.of_job(target, job_id), deadline)

    async def recent(self, limit: int, deadline: Deadline) -> list[Entry]:
        """As in JobLedger."""
        return await self._do(lambda ledger: ledger.recent(limit), deadline)

    @asynccontextmanager
    async def alone(self, target: str, name: str, deadline: Deadline) -> AsyncIterator[Turn]:
        """As in JobLedger: a lock file, which the kernel frees when its holder dies."""
        key = trigger_key(target, name)
        if self._directory is None or self._worker is None:  # only this process: two accounts of one user
            turns = self._turns.setdefault(key, FairLimiter(1))
            async with turns.taken(deadline, f"another account of the same user held the trigger of `{name}`"):
                yield EndlessTurn()
            return
        lock = _LockFile(self._directory / f"{key}.lock")
        async with self._limiter.taken(deadline, "trigger: no slot was free"):
            try:
                pause = 0.005
                while not await self._worker.run(lock.taken, deadline, str(lock.path)):
                    if deadline.expired:
                        what = f"another sync-runner held the trigger of `{name}`"
                        raise DeadlineExceeded(f"{lock.path}: {what} until {deadline.what} ended")
                    await self._clock.sleep(min(pause, deadline.remaining))
                    pause = min(pause * 2, 0.25)
                yield EndlessTurn()
            finally:
                self._worker.post(lock.free)  # after an attempt that is still running

    async def _do(self, act: Callable[[Ledger], T], deadline: Deadline) -> T:
        """Returns what `act` returns, retried while another process is writing: for `BUSY` seconds, within the deadline."""
        give_up = Deadline.after(self._clock, BUSY, "the patience").min(deadline)
        while True:
            try:
                return await self._once(act, deadline)
            except LedgerBusy as busy:
                if deadline.expired:
                    raise DeadlineExceeded(f"{busy}; {deadline.what} passed") from None
                if give_up.expired:
                    raise
            await self._clock.sleep(min(0.02, give_up.remaining))

    async def _once(self, act: Callable[[Ledger], T], deadline: Deadline) -> T:
        if self._worker is None:
            return act(self._ledger(0.0))
        work = partial(self._believed, act, 0.8 * deadline.remaining)
        result, warning = await self._worker.run(work, deadline, str(self._directory))
        if warning is not None:
            self._warn(warning)
        return result

    def _ledger(self, patience: float) -> Ledger:
        """Returns the open file. One that other processes hold is reported shortly before the deadline."""
        if self._file is None:
            self._file = Ledger(self._directory, self._redact, min(BUSY, patience))
        return self._file

    def _believed(self, act: Callable[[Ledger], T], patience: float) -> tuple[T, str | None]:
        """Returns what `act` returns; a corrupt file is set aside with a warning, and a new one started."""
        try:
            return act(self._ledger(patience)), None
        except LedgerCorrupt as corrupt:
            assert self._directory is not None
            if self._file is not None:
                with suppress(Exception):
                    self._file.close()
            self._file = None
            warning = set_aside(self._directory, corrupt, self._clock.time(), min(BUSY, patience))
        return act(self._ledger(patience)), warning

    async def _write(self, act: Callable[[Ledger], None], deadline: Deadline) -> None:
        if self._worker is None:
            act(self._ledger(0.0))
            return
        within = Deadline.after(self._clock, BUSY + FINISH_SECONDS, "the time for the ledger")
        await self._behind.write(self._do(act, within), deadline)


class _LockFile:
    """A lock file that is opened at the first try; runs on the thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def taken(self) -> bool:
        """Tries to lock it; returns whether it is ours. Raises StateError."""
        try:
            if self._descriptor is None:
                self._descriptor = open_lock(self.path)
            return try_lock(self._descriptor)
        except OSError as error:
            raise StateError(f"{self.path}: cannot be opened ({error.strerror}); check state.dir") from None

    def free(self) -> None:
        """Releases it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
