"""One sync from trigger to end: adopt or trigger, never twice; watch; trigger again where settings and failure allow."""

import asyncio
import uuid
from dataclasses import replace

from runner.clock import Clock, Deadline
from runner.errors import ContractError, OutcomeUnknown, RunnerError, Unreachable, UsageError
from runner.frozen import Frozen
from runner.ledger import Entry, Ledger
from runner.models import Job, JobStatus, Outcome, SyncResult
from runner.observe import events
from runner.observe.interface import Observer
from runner.sync import outcome, states
from runner.sync.jobs import Conflict, JobApi
from runner.sync.plan import PlannedSync
from runner.sync.states import Pace

LOST_ANSWERS = 3  # triggers with one idempotency key whose answers may be lost before the outcome counts as unknown
KEY_SECONDS = 3600.0  # an idempotency key older than that may be forgotten by the server
SETTLE_SECONDS = 2.0  # how long an interrupt waits for the answer to a trigger that has left
CANCEL_SECONDS = 4.0  # for the cancel request after SIGTERM: 8 s in all, less what push and report need


class Watching(Frozen):
    """How jobs are watched and tried again. Times in seconds."""

    pace: Pace = Pace()
    stall: float = 600.0
    job_attempts: int = 1
    sync_seconds: float | None = 3600.0


class Execution(Frozen):
    """What one account's syncs share."""

    account: str
    target: str
    run_id: str
    api: JobApi
    ledger: Ledger
    clock: Clock
    watching: Watching
    cancel_on_interrupt: bool = True


async def execute(sync: PlannedSync, shared: Execution, run_deadline: Deadline, observer: Observer) -> SyncResult:
    """Run `sync` to its end and tell how it ended. Raises nothing foreseen; a cancelled task cancels the job first."""
    clock = shared.clock
    began, started_at = clock.monotonic(), clock.time()
    deadline = Deadline.after(clock, shared.watching.sync_seconds, "the sync's deadline").sooner(run_deadline)
    state = _Progress(shared, sync, deadline, observer)
    error: str | None = None
    try:
        job = await state.run()
        ended = Outcome(job.status.value)
        error = job.error_message
    except asyncio.CancelledError:
        ended, error = Outcome.INTERRUPTED, await state.interrupted()
    except RunnerError as problem:
        ended, error = outcome.of_error(problem), str(problem)
        error = await state.given_up(ended, error)
    result = SyncResult(
        account=shared.account,
        name=sync.name,
        sync_type=sync.sync_type,
        outcome=ended,
        job=state.job,
        error=error,
        started_at=started_at,
        duration=clock.monotonic() - began,
        attempts=state.attempts,
        adopted=state.adopted,
    )
    state.close(result)
    return result


class _Progress:
    """The course of one sync: which attempt, which job."""

    def __init__(self, shared: Execution, sync: PlannedSync, deadline: Deadline, observer: Observer) -> None:
        self.shared, self.sync, self.deadline, self.observer = shared, sync, deadline, observer
        self.job: Job | None = None
        self.key: str | None = None
        self.attempts = 0
        self.adopted = False

    async def run(self) -> Job:
        """Trigger or adopt and watch, as often as the settings allow a failed job."""
        while True:
            self.attempts += 1
            self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.attempts))
            self.job = await self._begin()
            self.observer.emit(events.SyncTriggered(self.job.job_id, self.adopted))
            job = await self._watch(self.job)
            if job.status is not JobStatus.FAILED or self.attempts >= self.shared.watching.job_attempts:
                return job
            self._record(Outcome.FAILED, job.error_message)
            self.observer.emit(events.SyncRetried(self.attempts + 1, job.error_message))
            self.job = None

    async def _begin(self) -> Job:
        """A job to watch: an earlier run's that still runs, or a new one."""
        known = self.shared.ledger.open_entry(self.shared.target, self.sync.name)
        self.adopted = False
        if known is None:
            return await self._trigger(str(uuid.uuid4()))
        self.key = known.key
        if known.job_id is None:  # an earlier trigger whose answer never came
            return await self._trigger(known.key if self._key_still_known(known) else str(uuid.uuid4()))
        job = await self._still_running(known.job_id)
        if job is None:
            return await self._trigger(str(uuid.uuid4()))
        self.adopted = True
        return job

    def _key_still_known(self, known: Entry) -> bool:
        age = self.shared.clock.time() - known.intended_at
        return self.shared.api.spelling.trigger.idempotent and 0 <= age < KEY_SECONDS

    async def _still_running(self, job_id: str) -> Job | None:
        """The earlier run's job while it runs; else its end is written down and None returned."""
        try:
            job = await self.shared.api.look(
                Job(job_id, JobStatus.PENDING, self.sync.sync_type), self.deadline, self.observer
            )
        except ContractError as error:
            self._record(Outcome.UNKNOWN, str(error))
            return None
        if not job.status.terminal:
            return job
        self.job = job
        self._record(Outcome(job.status.value), job.error_message)
        self.job = None
        return None

    async def _trigger(self, key: str) -> Job:
        ledger = self.shared.ledger
        self.key = key
        ledger.intend(
            Entry(
                key, self.shared.target, self.shared.account, self.sync.name, self.sync.sync_type, self.shared.run_id,
                self.shared.clock.time(),
            )
        )  # fmt: skip
        lost = 0
        while True:
            try:
                answer = await self._send_trigger(key)
                break
            except Unreachable as error:
                if not error.sent:
                    raise
                lost += 1
                found = await self._look_up(error, lost)
                if found:
                    answer = found
                    break
        if isinstance(answer, Conflict):
            answer = await self._adopt(answer)
        self._note_job(key, answer)
        return answer

    async def _send_trigger(self, key: str) -> Job | Conflict:
        """Send the trigger; an interrupt meanwhile waits a little for the answer, so that the job can be cancelled."""
        sent = asyncio.ensure_future(self.shared.api.trigger(self.sync, key, self.deadline, self.observer))
        try:
            return await asyncio.shield(sent)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait({sent}, timeout=SETTLE_SECONDS)
            if done and sent.exception() is None and isinstance(answer := sent.result(), Job):
                self.job = answer
                self._note_job(key, answer)
            sent.cancel()
            raise

    async def _look_up(self, error: Unreachable, lost: int) -> Job | None:
        """After a lost answer: the job if it is found, None where the trigger may safely be sent again."""
        self.observer.emit(events.TriggerDoubt(str(error)))
        api = self.shared.api
        if api.spelling.trigger.idempotent and lost < LOST_ANSWERS:
            await self._pause(lost)
            return None
        try:
            jobs = await api.running(self.sync.sync_type, self.deadline, self.observer)
        except RunnerError:
            jobs = None
        if jobs:
            self.adopted = True
            return jobs[0]
        raise OutcomeUnknown(
            f"{error}; whether the sync was started is not known: look at the API for a job of type "
            f"{self.sync.sync_type} before you run it again"
        )

    async def _adopt(self, conflict: Conflict) -> Job:
        """The job that is running already, watched instead of a second one."""
        self.adopted = True
        api, kind = self.shared.api, self.sync.sync_type
        if conflict.job_id:
            return await api.look(Job(conflict.job_id, JobStatus.PENDING, kind), self.deadline, self.observer)
        jobs = await api.running(kind, self.deadline, self.observer)
        if not jobs:
            raise ContractError(f"trigger: the API says that a {kind} job is running, but names and lists none")
        return jobs[0]

    async def _pause(self, attempt: int) -> None:
        await self.shared.clock.sleep(min(0.2 * 2.0**attempt, self.deadline.left))

    async def _watch(self, job: Job) -> Job:
        """Look until the job ends. Raises DeadlineExceeded through the client when time is up."""
        clock, watching = self.shared.clock, self.shared.watching
        began = moved_at = clock.monotonic()
        stalled = False
        while not job.status.terminal:
            pause = states.next_look(job, clock.monotonic() - began, watching.pace)
            await clock.sleep(min(pause, self.deadline.left))
            now = states.advance(job, await self.shared.api.look(job, self.deadline, self.observer))
            if (now.status, now.progress, now.processed_items) != (job.status, job.progress, job.processed_items):
                moved_at, stalled = clock.monotonic(), False
            elif not stalled and clock.monotonic() - moved_at >= watching.stall:
                stalled = True
                self.observer.emit(events.SyncStalled(job.job_id, round(clock.monotonic() - moved_at, 1)))
            self.job = job = now
            self._tell(job)
        return job

    def _tell(self, job: Job) -> None:
        self.observer.emit(
            events.SyncProgress(job.job_id, job.status.value, job.progress, job.processed_items, job.total_items)
        )

    async def interrupted(self) -> str:
        """After a signal: cancel the job, or leave it to the next run, as the settings say."""
        if self.job is None or self.job.status.terminal:
            return "interrupted before a job was known" if self.job is None else "interrupted"
        if not self.shared.cancel_on_interrupt:
            return f"interrupted; job {self.job.job_id} goes on at the API and is adopted by the next run"
        return f"interrupted; {await self._cancel(self.job)}"

    async def given_up(self, ended: Outcome, error: str) -> str:
        """After the sync's deadline: the job is cancelled, so that nothing runs that nobody watches."""
        if ended is not Outcome.DEADLINE or self.job is None or self.job.status.terminal:
            return error
        return f"{error}; {await self._cancel(self.job)}"

    async def _cancel(self, job: Job) -> str:
        deadline = Deadline.after(self.shared.clock, CANCEL_SECONDS, "the time to cancel")
        try:
            now = await self.shared.api.cancel(job, deadline, self.observer)
        except RunnerError as error:
            self.observer.emit(events.CancelSent(job.job_id, None, str(error)))
            return f"job {job.job_id} could not be cancelled ({error})"
        self.job = now or replace(job, status=JobStatus.CANCELLED)
        self.observer.emit(events.CancelSent(job.job_id, now.status.value if now else None))
        return f"job {job.job_id} was cancelled"

    def close(self, result: SyncResult) -> None:
        """Write the end into the ledger and tell it. A job that goes on stays open, for the next run to adopt."""
        goes_on = self.job is not None and not self.job.status.terminal
        if not goes_on and result.outcome is not Outcome.UNKNOWN:
            self._record(result.outcome, result.error)
        job = self.job
        self.observer.emit(
            events.SyncEnded(
                result.outcome.value,
                round(result.duration, 3),
                result.attempts,
                job.job_id if job else None,
                result.error,
                job.processed_items if job else None,
                job.total_items if job else None,
            )
        )

    def _note_job(self, key: str, job: Job) -> None:
        """From here on a ledger that fails is told and no more: the job runs, and watching it matters most."""
        try:
            self.shared.ledger.triggered(key, job.job_id)
        except UsageError as problem:
            self.observer.emit(events.StoreProblem(str(problem)))

    def _record(self, ended: Outcome, error: str | None) -> None:
        if not self.key:
            return
        processed = self.job.processed_items if self.job else None
        try:
            self.shared.ledger.ended(self.key, ended.value, self.shared.clock.time(), processed=processed, error=error)
        except UsageError as problem:
            self.observer.emit(events.StoreProblem(str(problem)))
