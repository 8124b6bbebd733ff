"""One sync from its first trigger to its end: triggered or adopted, watched, tried again where the settings allow."""

import asyncio
from dataclasses import replace

from runner.clock import Deadline
from runner.errors import ContractError, RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.jobs import outcome, transitions
from runner.jobs.context import SyncContext
from runner.jobs.journal import SyncJournal
from runner.jobs.plan import PlannedSync
from runner.jobs.poll import watch
from runner.jobs.single import SingleTrigger
from runner.jobs.trigger import Trigger
from runner.models import JobStatus, Outcome, SyncJob, SyncResult

CANCEL_SECONDS = 2.0  # of a deadline's end, at most: for cancelling what runs, or looking up what may run
CANCEL_SHARE = 0.1  # of a short deadline
GRACE_SECONDS = 0.05  # that a cancel may go on after the deadline
INTERRUPT_SECONDS = 3.0  # for the same after SIGTERM: with a push that hangs, less than 5 s in all


async def execute(sync: PlannedSync, shared: SyncContext, run_deadline: Deadline, observer: Observer) -> SyncResult:
    """Run `sync` to its end and tell how it ended. Raises nothing foreseen; interrupted, it cancels the job first."""
    shared = replace(shared, api=shared.api.about(sync))
    clock = shared.clock
    began, started_at = clock.monotonic(), clock.time()
    deadline = Deadline.after(clock, shared.poll_policy.sync_seconds, "the sync's deadline").min(run_deadline)
    sync_run = SyncRun(shared, sync, deadline, observer)
    work = asyncio.create_task(sync_run.run())
    shared.interruptible.add(work)
    try:
        job = await work
        ended, error = Outcome(job.status.value), job.error_message
    except asyncio.CancelledError:
        ended, error = await sync_run.interrupted()
    except RunnerError as problem:
        ended, error = await sync_run.failed(problem)
    finally:
        shared.interruptible.discard(work)
    result = SyncResult(
        account=shared.account,
        name=sync.name,
        sync_type=sync.sync_type,
        outcome=ended,
        job=sync_run.job,
        error=error,
        started_at=started_at,
        duration=clock.monotonic() - began,
        attempts=sync_run.attempts,
        adopted=sync_run.trigger.adopted,
    )
    await sync_run.close(result)
    return result


def working(deadline: Deadline) -> Deadline:
    """Until when there is work to do, so that what runs can be cancelled before `deadline`."""
    return deadline.minus(min(CANCEL_SECONDS, CANCEL_SHARE * deadline.remaining))


class SyncRun:
    """The course of one sync: which attempt, which job."""

    def __init__(self, shared: SyncContext, sync: PlannedSync, deadline: Deadline, observer: Observer) -> None:
        self.shared, self.observer, self.clock = shared, observer, shared.clock
        self.journal = SyncJournal(shared, sync, observer)
        starts = SingleTrigger if shared.api.profile.single else Trigger
        self.trigger = starts(shared, sync, self.journal, observer)
        self.sync = sync
        self.last = deadline
        self.deadline = working(deadline)
        self.job: SyncJob | None = None
        self.ended: dict[str, SyncJob] = {}
        self.attempts = 0

    async def run(self) -> SyncJob:
        """Trigger or adopt and watch, as often as the settings allow a failed job."""
        while True:
            self.attempts += 1
            self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.attempts))
            self._saw(await self.trigger.begin(self.deadline))
            assert self.job is not None
            self._check_not_ended(self.job)
            self.observer.emit(events.SyncTriggered(self.job.job_id, self.trigger.adopted))
            job = await watch(self.job, self.shared, self.deadline, self.observer, self._saw)
            if job.status is not JobStatus.FAILED or self.attempts >= self.shared.poll_policy.job_attempts:
                return job
            await self.journal.end(Outcome.FAILED, job, job.error_message)
            self.observer.emit(events.SyncRetried(self.attempts + 1, job.error_message))
            self.ended[job.job_id] = job
            self.job = None

    def _saw(self, job: SyncJob) -> None:
        self.job = job

    def _check_not_ended(self, job: SyncJob) -> None:
        """A job that has ended is not believed to run again."""
        before = self.ended.get(job.job_id)
        if before is not None:
            transitions.advance(before, job)
            raise ContractError(f"trigger: the API gave job {job.job_id[:80]} as a new one, which had ended before")

    async def interrupted(self) -> tuple[Outcome, str]:
        """After a signal: cancel the job, or leave it to the next run, as the settings say."""
        deadline = Deadline.after(self.clock, INTERRUPT_SECONDS, "the time to cancel")
        said = await self._leave(deadline, cancel=self.shared.cancel_on_interrupt)
        if self._done:
            return self._done, f"interrupted; {said}"
        return Outcome.INTERRUPTED, f"interrupted; {said}" if said else "interrupted before a job was known"

    async def failed(self, problem: RunnerError) -> tuple[Outcome, str]:
        """After an error. At the deadline the job is cancelled, so that nothing runs that nobody watches."""
        ended, error = outcome.of_error(problem), str(problem)
        if ended is not Outcome.DEADLINE:
            return ended, error
        grace = replace(self.last, at=max(self.last.at, self.clock.monotonic()) + GRACE_SECONDS)
        said = await self._leave(grace, cancel=True)
        if self.trigger.doubtful:
            ended = Outcome.UNKNOWN
        return self._done or ended, f"{error}; {said}" if said else error

    async def _leave(self, deadline: Deadline, *, cancel: bool) -> str:
        """Look up what may run, cancel what runs. What became of it, in words; nothing where there is nothing to say."""
        if self.job is None:
            self.job = await self.trigger.settle(deadline.minus(deadline.remaining / 2))
        if self.trigger.doubtful:
            return self.trigger.unknown
        if self.job is None:
            return ""
        if self.job.status.terminal:
            return f"job {self.job.job_id} had ended"
        if not cancel:
            return f"job {self.job.job_id} goes on at the API and is adopted by the next run"
        return await self._cancel(self.job, deadline)

    async def _cancel(self, job: SyncJob, deadline: Deadline) -> str:
        try:
            now = await self.shared.api.cancel(job, deadline, self.observer)
            self.job = transitions.advance(job, now) if now else replace(job, status=JobStatus.CANCELLED)
        except RunnerError as error:
            self.observer.emit(events.CancelSent(job.job_id, None, str(error)))
            return f"job {job.job_id} could not be cancelled ({error})"
        self.observer.emit(events.CancelSent(job.job_id, now.status.value if now else None))
        return f"job {job.job_id} was cancelled" if not self._done else f"job {job.job_id} had ended"

    @property
    def _done(self) -> Outcome | None:
        """How the job ended by itself, where it did before it was cancelled."""
        if self.job is None or self.job.status not in (JobStatus.COMPLETED, JobStatus.FAILED):
            return None
        return Outcome(self.job.status.value)

    async def close(self, result: SyncResult) -> None:
        """Write the end into the ledger and tell it. A job that goes on, or may, stays open for the next run."""
        goes_on = self.job is not None and not self.job.status.terminal
        if not goes_on and not self.trigger.doubtful and result.outcome is not Outcome.UNKNOWN:
            await self.journal.end(result.outcome, self.job, result.error)
        self.observer.emit(events.SyncEnded.of(result))
