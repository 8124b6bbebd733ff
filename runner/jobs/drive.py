"""Executes the actions of `decide` for one sync and returns the resulting events. Decides nothing."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import cache

from runner.clock import Deadline
from runner.errors import (
    ContractError,
    DeadlineExceeded,
    OutcomeUnknown,
    RunnerError,
    StateError,
    Unreachable,
    UsageError,
)
from runner.events import events
from runner.events.observer import Observer
from runner.external import ExternalText, show
from runner.jobs import decide as machine
from runner.jobs import states as s
from runner.jobs.api import Conflict
from runner.jobs.context import SyncContext
from runner.jobs.journal import SyncJournal
from runner.jobs.leases import RENEW_SECONDS
from runner.jobs.plan import PlannedSync
from runner.jobs.reads import Reads
from runner.jobs.states import Action, Do, Event, Facts, Phase, State, Why
from runner.jobs.tracking import Tracking
from runner.models import JobStatus, Outcome, SyncJob

INTERRUPT_SECONDS = 3.0  # to settle, cancel and confirm after a signal: with a hanging push, less than 5 s in total
GRACE_SECONDS = 0.05  # that a cancel may continue after the deadline
SETTLE_STEP = 0.5  # seconds to wait for the trigger's response between two look-ups
KEY_SECONDS = 3600.0  # an idempotency key older than that may have expired at the server


def facts_of(shared: SyncContext, sync: PlannedSync) -> Facts:
    """Returns the facts for the state machine from the profile and the settings."""
    profile, policy = shared.api.profile, shared.poll_policy
    trigger = profile.trigger
    return Facts(
        sync_type=sync.sync_type,
        key_seconds=float("inf") if trigger.names_once else KEY_SECONDS if trigger.idempotent else 0.0,
        names_job=trigger.names_job,
        lists=trigger.names_job or any((profile.running, profile.by_key, profile.single)),
        cancels=profile.cancel is not None,
        job_attempts=policy.job_attempts,
        patience=policy.patience,
        cancel_on_interrupt=shared.cancel_on_interrupt,
    )


@cache
def _rules(*, single: bool) -> tuple[machine.Rule, ...]:
    """Shares one table between all syncs of the process: a new one per sync took 40 KiB and half a millisecond."""
    return machine.single() if single else machine.with_ids()


class Drive:
    """Runs one sync. `state` is always current, whatever interrupts it."""

    def __init__(
        self, shared: SyncContext, sync: PlannedSync, last: Deadline, deadline: Deadline, observer: Observer
    ) -> None:
        """Work continues until `deadline`; everything ends at `last`. Sends nothing yet."""
        self.shared, self.sync, self.observer = shared, sync, observer
        self.api, self.clock = shared.api, shared.clock
        self.facts = facts_of(shared, sync)
        self.single = self.api.profile.single is not None
        self.rules = _rules(single=self.single)
        self.journal = SyncJournal(shared, sync, observer)
        self.tracking = Tracking(shared, observer)
        self.reads = Reads(shared, sync, self.facts, self.journal, observer)
        self.state = State()
        self.retried: list[SyncJob] = []  # failed jobs that were replaced by another attempt
        self.last, self.deadline = last, deadline
        self._closed: set[str | None] = set()
        self._lock: AbstractAsyncContextManager[None] | None = None
        self._sent: asyncio.Future[SyncJob | Conflict] | None = None

    async def course(self) -> Do:
        """Runs from start to end. Raises nothing foreseen; when cancelled, it leaves `state` for `stop`."""
        self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.state.attempt))
        return await self._go_on(Action((Do.RECALL,)))

    async def stop(self) -> Do:
        """After a signal: determines the trigger's result, cancels the job where required, confirms."""
        if self.state.stopped is not None:  # the deadline passed first
            return await self._next(s.TimeUp(self._now))
        self.deadline = Deadline.after(self.clock, INTERRUPT_SECONDS, "the time to cancel")
        return await self._next(self._stopped(Why.SIGNAL))

    async def release(self) -> None:
        """Releases the lock, the lease and the pending trigger."""
        if self._sent is not None:
            self._sent.cancel()
        self.journal.leave()
        if self.state.job is None or not self.state.job.status.terminal:
            await self.journal.give_up(self.last)
        await self._unlock()

    async def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            await lock.__aexit__(None, None, None)

    async def _next(self, event: Event) -> Do:
        self.state, action = self._decide(event)
        return await self._go_on(action)

    async def _go_on(self, action: Action) -> Do:
        while True:
            for write in action.do[:-1]:
                await self._write(write)
            if self.state.phase is Phase.END:
                return action.do[-1]
            event = await self._bounded(action)
            self.state, action = self._decide(event)

    def _decide(self, event: Event) -> tuple[State, Action]:
        before = self.state
        state, action = machine.decide(before, event, self.facts, self.rules)
        if isinstance(event, s.Lost):
            self.observer.emit(events.TriggerDoubt(str(event.error)))
        if (
            isinstance(event, s.Seen)
            and before.phase is Phase.POLL
            and event.job is not None
            and before.job is not None
        ):
            shown = self.tracking.seen(before.job, event.job)
            state = replace(state, job=shown) if state.job is event.job else state
        return state, action

    @property
    def _now(self) -> float:
        return self.clock.monotonic()

    def _stopped(self, why: Why, *, lost: bool = False) -> Event:
        return s.Stopped(self._now, why, in_flight=self._sent is not None, lost=lost)

    async def _bounded(self, action: Action) -> Event:
        """Returns the action's event; where the deadline passes first, that event."""
        try:
            await self._wait(action)
            if self.deadline.expired:
                raise DeadlineExceeded(f"{self.deadline.what} passed")
            return await self._act(action)
        except DeadlineExceeded as error:
            if self.state.stopped is not None:
                return s.TimeUp(self._now)
            if not self.deadline.expired:
                return self._too_late(action.do[-1], error)
            self.deadline = Deadline(self.clock, max(self.last.at, self._now) + GRACE_SECONDS, self.last.what)
            return self._stopped(Why.DEADLINE, lost=error.sent and action.do[-1] is Do.TRIGGER)

    def _too_late(self, do: Do, error: DeadlineExceeded) -> Event:
        """Handles a retry time after the deadline: a running job is polled on, nothing new starts."""
        if do in (Do.POLL, Do.LIST):
            return s.Unclear(self._now, Unreachable(str(error)))
        return s.Rejected(self._now, error) if do is Do.TRIGGER else s.Broken(self._now, error)

    async def _wait(self, action: Action) -> None:
        """Waits before the action, within the deadline; renews the lease of a polled job during the wait."""
        state, pause = self.state, action.after
        if pause is None:
            assert state.job is not None
            pause = self.tracking.pause(state.job)
        elif state.failures and action.do[-1] in (Do.POLL, Do.LIST):
            pause = self.tracking.pause_after_failure(pause, state.failures, state.problem)
        until = self._now + min(pause, self._until.remaining)
        while (left := until - self._now) > 0:
            await self.clock.sleep(min(left, RENEW_SECONDS))
            if state.phase is Phase.POLL and left > RENEW_SECONDS:
                await self.journal.lease(self._until)

    @property
    def _until(self) -> Deadline:
        """Returns the time for the action: half of the rest for settling and polling, so that a cancel has the other half."""
        if self.state.phase in (Phase.SETTLE, Phase.LOOK):
            return self.deadline.minus(self.deadline.remaining / 2)
        return self.deadline

    async def _act(self, action: Action) -> Event:
        match action.do[-1]:
            case Do.RECALL:
                return await self._insisted(self._recall)
            case Do.INTEND:
                return await self._insisted(self._intend)
            case Do.TRIGGER:
                return await self._trigger(action.after or 0.0)
            case Do.POLL:
                return await self.reads.poll(self.state, self._until)
            case Do.LIST:
                return await self.reads.list(self.state, self._until)
            case Do.AWAIT:
                return await self._answered()
            case _:
                return await self._cancel()

    # The ledger.

    async def _write(self, do: Do) -> None:
        job = self.state.job
        if do in (Do.KEEP, Do.KEEP_OURS, Do.KEEP_THEIRS) and job is not None:
            await self.journal.job(job, external=self.state.external)
            if self.state.stopped is None:
                self.tracking.began(job, adopted=self.state.adopted)
                await self.journal.lease(self.deadline)
                await self._unlock()
        elif do is Do.CLOSE:
            known = job is not None and job.status.terminal
            ended = Outcome(job.status.value) if job is not None and known else Outcome.UNKNOWN
            error = job.shown_error if job is not None and known else "its outcome is unknown"
            self._closed.add(self.journal.key)
            await self.journal.end(ended, job, error)
        elif do is Do.RETRY:
            self.retried += [job] if job else []
            self.observer.emit(events.SyncRetried(self.state.attempt, job.shown_error if job else None))
            self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.state.attempt))

    async def _insisted(self, act: Callable[[], Awaitable[Event]]) -> Event:
        """Runs an action that only the ledger can fail."""
        try:
            return await act()
        except DeadlineExceeded:
            raise
        except RunnerError as error:
            return s.Broken(self._now, error)

    async def _recall(self) -> Event:
        await self._unlock()
        lock = self.journal.alone(self.deadline)
        await lock.__aenter__()
        self._lock = lock
        done = await self.journal.completed(self.deadline)
        if done is not None:
            job = None
            if done.job_id is not None:
                job = SyncJob(done.job_id, JobStatus.COMPLETED, done.sync_type, processed_items=done.processed_items)
            return s.Recalled(self._now, job=job, done=True)
        entry = await self.journal.earlier(self.deadline)
        if entry is None:
            return s.Recalled(self._now)
        if entry.key in self._closed:
            return s.Broken(
                self._now,
                UsageError("the ledger lost an entry after writing it; check space and permissions of state.dir"),
            )
        self.reads.intended_at = entry.intended_at
        leased = await self.journal.lease(self.deadline) if entry.job_id is not None else True
        name = entry.job_id or (ExternalText(entry.key) if self.single else None)
        job = (
            None if name is None else SyncJob(name, JobStatus.PENDING, self.sync.sync_type, carried=dict(entry.carried))
        )
        retyped = entry.sync_type != self.sync.sync_type
        same_run = not retyped and entry.run_key is not None and entry.run_key == self.shared.run_key
        return s.Recalled(
            self._now, key=entry.key, job=job, age=self.clock.time() - entry.intended_at, held=leased is False,
            external=entry.external, same_run=same_run, retyped=retyped,
        )  # fmt: skip

    async def _intend(self) -> Event:
        failed = await self.reads.note_earlier(self.deadline)
        if failed is not None:
            return failed
        key, self.reads.intended_at = str(uuid.uuid4()), self.clock.time()
        await self.journal.intend(key, self.reads.intended_at, self.deadline)
        return s.Intended(self._now, key)

    # The trigger.

    async def _trigger(self, pause: float) -> Event:
        """Sends the trigger. A cancelled task leaves the request pending, for `stop` to await."""
        if pause and not self.api.budget.spend():
            return s.Exhausted(self._now)
        key = self.state.key
        assert key is not None
        sending = self.journal.within_turn(self.api.trigger(self.sync, key, self.deadline, self.observer))
        self._sent = asyncio.ensure_future(sending)
        try:
            answer = await asyncio.shield(self._sent)
        except RunnerError as error:
            self._sent = None
            if isinstance(error, DeadlineExceeded) and self.deadline.expired:
                raise
            return self._not_begun(error)
        self._sent = None
        return self._of_trigger(answer)

    def _of_trigger(self, answer: SyncJob | Conflict) -> Event:
        if isinstance(answer, SyncJob):
            return s.Begun(self._now, answer)
        said = f" ({answer.words})" if answer.words else ""
        if self.facts.names_job:  # the name that we gave shows no job, so the conflict is not about the name
            text = f"trigger: the API refuses a second such job{said}, which is not this run's; check type, dates and parameters"
            return s.AlreadyRuns(self._now, UsageError(text), answer.job_id)
        shows = (
            f"job {show(answer.job_id, 80)}, which it names, does not run" if answer.job_id else "names and lists none"
        )
        refused = ContractError(f"trigger: the API says that a {self.sync.sync_type} job runs{said}, but {shows}")
        return s.AlreadyRuns(self._now, refused, answer.job_id)

    def _not_begun(self, error: RunnerError) -> Event:
        asked = error.retry_after or 0.0 if isinstance(error, Unreachable) else 0.0
        return s.Lost(self._now, error, asked) if error.sent else s.Rejected(self._now, error)

    async def _answered(self) -> Event:
        """Returns the result of the pending trigger, after a short wait."""
        sent = self._sent
        if sent is None:
            return s.Exhausted(self._now)
        await asyncio.wait({sent}, timeout=min(SETTLE_STEP, self._until.remaining))
        if not sent.done():
            if self._until.expired:
                raise DeadlineExceeded("the trigger's response did not arrive")
            return s.StillOut(self._now)
        self._sent = None
        if sent.cancelled():
            return s.Lost(self._now, OutcomeUnknown("trigger: abandoned"))
        error = sent.exception()
        if isinstance(error, RunnerError):
            return self._not_begun(error)
        if error is not None:
            raise error
        return self._of_trigger(sent.result())

    async def _cancel(self) -> Event:
        job = self.state.job
        assert job is not None
        asking = self.deadline.minus(self.deadline.remaining / 2)  # a store that hangs leaves time for the cancel
        if not await self.journal.still_ours(asking):
            error = StateError("its lease in the state expired, and another process may poll it")
            return s.CancelRefused(self._now, error)
        if await self.journal.watched(asking):
            return s.Watched(self._now)
        try:
            now = await self.api.cancel(job, self.deadline, self.observer)
        except RunnerError as error:
            self.observer.emit(events.CancelSent(job.shown_id, None, str(error)))
            return s.CancelRefused(self._now, error)
        self.observer.emit(events.CancelSent(job.shown_id, now.status.value if now else None))
        return s.CancelAnswered(self._now, now)
