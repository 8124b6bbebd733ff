"""What one sync writes into the ledger: the intent before the trigger, the job after it, the end. Knows no API."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from runner.clock import Deadline
from runner.errors import RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.context import SyncContext
from runner.jobs.plan import PlannedSync
from runner.models import Outcome, SyncJob
from runner.state.ledger import Entry, retry_while_busy

PATIENCE = 0.05  # seconds for an entry that is told and not insisted on: deadlines hold for it too


class SyncJournal:
    """The entries of one sync; `key` is the current one's."""

    def __init__(self, shared: SyncContext, sync: PlannedSync, observer: Observer) -> None:
        """Nothing is written yet."""
        self._shared, self._sync, self._observer = shared, sync, observer
        self._ledger, self._clock = shared.ledger, shared.clock
        self.key: str | None = None

    def alone(self, deadline: Deadline) -> AbstractAsyncContextManager[None]:
        """Hold this sync against other processes. Raises UsageError or DeadlineExceeded."""
        return self._ledger.alone(self._shared.target, self._sync.name, self._clock, deadline)

    async def earlier(self, deadline: Deadline) -> Entry | None:
        """What an earlier run began and did not end. Raises UsageError or DeadlineExceeded."""

        def read() -> Entry | None:
            return self._ledger.open_entry(self._shared.target, self._sync.name)

        return await retry_while_busy(read, self._clock, deadline)

    async def intend(self, key: str, at: float, deadline: Deadline) -> None:
        """Before the trigger leaves: that it is about to, at Unix time `at`. Raises UsageError or DeadlineExceeded."""
        shared, sync = self._shared, self._sync
        entry = Entry(key, shared.target, shared.account, sync.name, sync.sync_type, shared.run_id, at)
        await retry_while_busy(lambda: self._ledger.intend(entry), self._clock, deadline)
        self.key = key

    def anothers(self, job: SyncJob) -> bool:
        """Whether the ledger knows the job as that of another sync, or of an earlier trigger."""
        entry = self._ledger.of_job(self._shared.target, job.job_id)
        return entry is not None and entry.key != self.key

    async def job(self, job: SyncJob, *, external: bool = False) -> None:
        """The job that runs. A ledger that fails now is told and no more: watching the job matters most."""
        key = self.key
        if key:
            await self._told(lambda: self._ledger.triggered(key, job.job_id, external=external, carried=job.carried))

    async def end(self, ended: Outcome, job: SyncJob | None, error: str | None) -> None:
        """How it ended."""
        key, at = self.key, self._clock.time()
        processed = job.processed_items if job else None
        if key:
            await self._told(lambda: self._ledger.ended(key, ended.value, at, processed=processed, error=error))

    async def _told(self, write: Callable[[], None]) -> None:
        try:
            await retry_while_busy(write, self._clock, Deadline.after(self._clock, PATIENCE, "the time for the ledger"))
        except RunnerError as problem:
            self._observer.emit(events.StoreProblem(str(problem)))
