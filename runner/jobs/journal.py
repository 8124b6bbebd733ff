"""Reads and writes the ledger for one sync: the intent, the job, the lease, the end. Knows no API."""
# Decision 0061.

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from runner.clock import Deadline
from runner.errors import OutcomeUnknown, RunnerError, StateError
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.context import SyncContext
from runner.jobs.leases import LEASE_SECONDS, RENEW_SECONDS
from runner.jobs.plan import PlannedSync
from runner.models import Outcome, SyncJob
from runner.state.entry import Entry
from runner.state.interface import EndlessTurn, Turn

T = TypeVar("T")

PATIENCE = 0.1  # seconds for an optional entry: deadlines apply to it too
ASK_SECONDS = 2.0  # for a query that delays polls
GIVE_UP_SECONDS = 0.5  # to end a lease, which expires anyway
MARGIN = 1.0  # seconds before its end at which a lease counts as expired: clocks run at different rates
RETRY_SECONDS = 5.0  # between two tries to take over another's lease


class SyncJournal:
    """The entries of one sync; `key` is the current one's."""

    def __init__(self, shared: SyncContext, sync: PlannedSync, observer: Observer) -> None:
        """Writes nothing yet."""
        self._shared, self._sync, self._observer = shared, sync, observer
        self._ledger, self._clock = shared.ledger, shared.clock
        self._leased: bool | None = None
        self._troubled = False
        self._sure_until = 0.0
        self._turn: Turn = EndlessTurn()
        self.key: str | None = None
        self.holder, self.renew_at = shared.holder, 0.0

    @asynccontextmanager
    async def alone(self, deadline: Deadline) -> AsyncIterator[None]:
        """Locks this sync against other processes. Raises UsageError or DeadlineExceeded."""
        async with self._ledger.alone(self._shared.target, self._sync.name, deadline) as turn:
            self._turn = turn
            try:
                yield
            finally:
                self._turn = EndlessTurn()

    async def within_turn(self, trigger: Coroutine[Any, Any, T]) -> T:
        """Returns what the trigger returns. Where another process may hold the lock, the trigger is abandoned or not
        sent.

        Raises StateError where nothing was sent, OutcomeUnknown where it was in flight, and what the trigger raises.
        """
        turn = self._turn
        if turn.remaining <= 0:
            trigger.close()
            raise StateError(
                "trigger: the lock in the state expired, and another process may hold it; nothing was sent"
            )
        sending = asyncio.ensure_future(trigger)
        try:
            while not sending.done():
                if turn.remaining <= 0:
                    raise OutcomeUnknown("trigger: abandoned, because its lock in the state expired", sent=True)
                await asyncio.wait({sending}, timeout=turn.remaining)
            return sending.result()
        finally:
            sending.cancel()

    async def still_ours(self, until: Deadline) -> bool:
        """Whether the job may be cancelled: no other process can hold its lease, by our own clock or by the ledger."""
        if self.key is None or self._clock.monotonic() < self._sure_until:
            return True
        self.renew_at = 0.0
        return await self.lease(until) is True and self._clock.monotonic() < self._sure_until

    async def watched(self, until: Deadline) -> bool:
        """Whether another live process polls the job too; false where the ledger cannot tell."""
        if self.key is None:
            return False
        try:
            return await self._ledger.watched(self.key, self._clock.time(), self._while(until))
        except RunnerError:
            return False

    async def completed(self, deadline: Deadline) -> Entry | None:
        """Returns the sync, of the same type, as an earlier try of this run completed it. Raises as `earlier`."""
        shared, run_key = self._shared, self._shared.run_key
        if run_key is None:
            return None
        found = await self._ledger.completed_under(shared.target, self._sync.name, run_key, deadline)
        return found if found is not None and found.sync_type == self._sync.sync_type else None

    async def earlier(self, deadline: Deadline) -> Entry | None:
        """Returns the open entry of an earlier run; its key becomes the current one. Raises UsageError or DeadlineExceeded."""
        found = await self._ledger.open_entry(self._shared.target, self._sync.name, deadline)
        self._take(None if found is None else found.key)
        return found

    def _take(self, key: str | None) -> None:
        self._shared.leases.drop(self)
        self.key, self._leased, self.renew_at, self._sure_until = key, None, 0.0, 0.0

    async def intend(self, key: str, at: float, deadline: Deadline) -> None:
        """Writes, before the trigger is sent, that it will be, at Unix time `at`. Raises UsageError or DeadlineExceeded."""
        shared, sync = self._shared, self._sync
        entry = Entry(
            key, shared.target, shared.account, sync.name, sync.sync_type, shared.run_id, at,
            run_key=shared.run_key, holder=shared.holder, lease_until=at + LEASE_SECONDS,
        )  # fmt: skip
        began = self._clock.monotonic()
        await self._ledger.intend(entry, deadline)
        self._take(key)
        self.renewed(leased=True, began=began)  # the entry was written with its lease

    async def lease(self, until: Deadline) -> bool | None:
        """Takes or renews the lease of the current entry when due; returns whether it is ours, None where that is unknown."""
        if self.key is None or self._clock.time() < self.renew_at:
            return self._leased
        try:
            await self._shared.leases.renew(self, self._ledger, self._clock, self._while(until))
        except RunnerError as problem:
            if not self._troubled:  # only the first of several is reported
                self._observer.emit(events.StoreProblem(str(problem)))
            self._troubled = True
        else:
            self._troubled = False
        return self._leased

    def renewed(self, leased: bool | None, began: float) -> None:
        """As in `Leased`."""
        if leased is None:
            self._leased = bool(self._leased)
        else:
            self._leased, self._sure_until = leased, began + LEASE_SECONDS - MARGIN if leased else 0.0
        self.renew_at = self._clock.time() + (RENEW_SECONDS if self._leased else RETRY_SECONDS)
        (self._shared.leases.add if self._leased else self._shared.leases.drop)(self)

    def leave(self) -> None:
        """Stops renewing the lease: no process polls the job any more."""
        self._shared.leases.drop(self)

    async def give_up(self, until: Deadline) -> None:
        """Ends the lease of a job that continues, so that the next run can adopt it without waiting.

        Where the lease is another's, that holder may cancel the job again: we poll it no more.
        """
        key, now = self.key, self._clock.time()
        within = Deadline.after(self._clock, GIVE_UP_SECONDS, "the time for the ledger").min(until)
        if key is not None:
            with suppress(RunnerError):  # it expires by itself
                await self._ledger.lease(key, self._shared.holder, now=now, until=now, deadline=within)

    async def anothers(self, job: SyncJob, until: Deadline) -> bool:
        """Whether the ledger knows the job as that of another sync, or of an earlier trigger."""
        entry = await self._ledger.of_job(self._shared.target, job.job_id, self._while(until))
        return entry is not None and entry.key != self.key

    async def job(self, job: SyncJob, *, external: bool = False) -> None:
        """Writes the running job. A ledger failure is only reported here: polling the job has priority."""
        key = self.key
        if key:
            write = self._ledger.triggered(key, job.job_id, self._patience, external=external, carried=job.carried)
            await self._write(write)

    async def end(self, ended: Outcome, job: SyncJob | None, error: str | None) -> None:
        """Writes the outcome."""
        key, at = self.key, self._clock.time()
        processed = job.processed_items if job else None
        if key:
            await self._write(
                self._ledger.ended(key, ended.value, at, self._patience, processed=processed, error=error)
            )
            self._take(None)

    def _while(self, until: Deadline) -> Deadline:
        return Deadline.after(self._clock, ASK_SECONDS, "the time for the ledger").min(until)

    @property
    def _patience(self) -> Deadline:
        return Deadline.after(self._clock, PATIENCE, "the time for the ledger")

    async def _write(self, write: Awaitable[None]) -> None:
        try:
            await write
        except RunnerError as problem:
            self._observer.emit(events.StoreProblem(str(problem)))
