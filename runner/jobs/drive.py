"""Does what `decide` says: the actions of one sync, each with the event that comes of it. Decides nothing."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
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

INTERRUPT_SECONDS = 3.0  # to find out, cancel and confirm after a signal: with a push that hangs, less than 5 s in all
GRACE_SECONDS = 0.05  # that a cancel may go on after the deadline
SETTLE_STEP = 0.5  # seconds for which the trigger's answer is awaited between two look-ups
KEY_SECONDS = 3600.0  # an idempotency key older than that may be forgotten by the server


def facts_of(shared: SyncContext, sync: PlannedSync) -> Facts:
    """What the profile and the settings say for the machine."""
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
    """One table for all syncs of the process: made anew for each, it took 40 KiB and half a millisecond of each."""
    return machine.single() if single else machine.with_ids()


class Drive:
    """The course of one sync. `state` is always what is known, whatever interrupts it."""

    def __init__(
        self, shared: SyncContext, sync: PlannedSync, last: Deadline, deadline: Deadline, observer: Observer
    ) -> None:
        """Until `deadline` there is work; `last` is when all must be over. Nothing is sent yet."""
        self.shared, self.sync, self.observer = shared, sync, observer
        self.api, self.clock = shared.api, shared.clock
        self.facts = facts_of(shared, sync)
        self.single = self.api.profile.single is not None
        self.rules = _rules(single=self.single)
        self.journal = SyncJournal(shared, sync, observer)
        self.tracking = Tracking(shared, observer)
        self.reads = Reads(shared, sync, self.facts, self.journal, observer)
        self.state = State()
        self.retried: list[SyncJob] = []  # failed jobs that another took the place of
        self.last, self.deadline = last, deadline
        self._closed: set[str | None] = set()
        self._lock = AsyncExitStack()
        self._sent: asyncio.Future[SyncJob | Conflict] | None = None

    async def course(self) -> Do:
        """From the start to the end. Raises nothing foreseen; cancelled, it leaves `state` for `stop`."""
        self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.state.attempt))
        return await self._go_on(Action((Do.RECALL,)))

    async def stop(self) -> Do:
        """After a signal: find out what became of the trigger, cancel the job where that is asked, confirm."""
        if self.state.stopped is not None:  # the deadline came first
            return await self._next(s.TimeUp(self._now))
        self.deadline = Deadline.after(self.clock, INTERRUPT_SECONDS, "the time to cancel")
        return await self._next(self._stopped(Why.SIGNAL))

    async def release(self) -> None:
        """Let go of the lock, of the lease, and of the trigger that is under way."""
        if self._sent is not None:
            self._sent.cancel()
        self.journal.leave()
        if self.state.job is None or not self.state.job.status.terminal:
            await self.journal.give_up()
        await self._lock.aclose()

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
        """The event that comes of the action; where the time is over first, that."""
        try:
            await self._wait(action)
            if self.deadline.expired:
                raise DeadlineExceeded(f"{self.deadline.what} is over")
            return await self._act(action)
        except DeadlineExceeded as error:
            if self.state.stopped is not None:
                return s.TimeUp(self._now)
            if not self.deadline.expired:
                return self._too_late(action.do[-1], error)
            self.deadline = replace(self.last, at=max(self.last.at, self._now) + GRACE_SECONDS)
            return self._stopped(Why.DEADLINE, lost=error.sent and action.do[-1] is Do.TRIGGER)

    def _too_late(self, do: Do, error: DeadlineExceeded) -> Event:
        """An API that asks to come back after the deadline: a job that runs is polled on, nothing new begins."""
        if do in (Do.POLL, Do.LIST):
            return s.Unclear(self._now, Unreachable(str(error)))
        return s.Rejected(self._now, error) if do is Do.TRIGGER else s.Broken(self._now, error)

    async def _wait(self, action: Action) -> None:
        """The pause before the action, within the deadline; the lease of a job that is polled is renewed meanwhile."""
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
        """The time for the action: half of what is left for finding out and looking, so that a cancel has the rest."""
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
                await self._lock.aclose()
        elif do is Do.CLOSE:
            known = job is not None and job.status.terminal
            ended = Outcome(job.status.value) if job is not None and known else Outcome.UNKNOWN
            error = job.shown_error if job is not None and known else "what became of it could not be told"
            self._closed.add(self.journal.key)
            await self.journal.end(ended, job, error)
        elif do is Do.RETRY:
            self.retried += [job] if job else []
            self.observer.emit(events.SyncRetried(self.state.attempt, job.shown_error if job else None))
            self.observer.emit(events.SyncStarted(self.sync.start_date, self.sync.end_date, self.state.attempt))

    async def _insisted(self, act: Callable[[], Awaitable[Event]]) -> Event:
        """What only the ledger can fail."""
        try:
            return await act()
        except DeadlineExceeded:
            raise
        except RunnerError as error:
            return s.Broken(self._now, error)

    async def _recall(self) -> Event:
        await self._lock.aclose()
        await self._lock.enter_async_context(self.journal.alone(self.deadline))
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
                self._now, UsageError("the ledger does not keep what is written; check space and rights of state.dir")
            )
        self.reads.intended_at = entry.intended_at
        leased = await self.journal.lease(self.deadline) if entry.job_id is not None else True
        name = entry.job_id or (ExternalText(entry.key) if self.single else None)
        job = (
            None if name is None else SyncJob(name, JobStatus.PENDING, self.sync.sync_type, carried=dict(entry.carried))
        )
        same_run = entry.run_key is not None and entry.run_key == self.shared.run_key
        return s.Recalled(
            self._now, key=entry.key, job=job, age=self.clock.time() - entry.intended_at, held=leased is False,
            external=entry.external, same_run=same_run,
        )  # fmt: skip

    async def _intend(self) -> Event:
        key, self.reads.intended_at = str(uuid.uuid4()), self.clock.time()
        await self.journal.intend(key, self.reads.intended_at, self.deadline)
        return s.Intended(self._now, key)

    # The trigger.

    async def _trigger(self, pause: float) -> Event:
        """Send it. A task that is cancelled meanwhile leaves it under way, for `stop` to wait for."""
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
        if self.facts.names_job:  # where the name that we gave shows no job, it was not the name that is taken
            told = f"trigger: the API refuses a second such job{said}, and none of this run's; check type, dates and parameters"
            return s.AlreadyRuns(self._now, UsageError(told), answer.job_id)
        shows = f"job {show(answer.job_id, 80)}, which it names, does not" if answer.job_id else "names and lists none"
        refused = ContractError(f"trigger: the API says that a {self.sync.sync_type} job is running{said}, but {shows}")
        return s.AlreadyRuns(self._now, refused, answer.job_id)

    def _not_begun(self, error: RunnerError) -> Event:
        asked = error.retry_after or 0.0 if isinstance(error, Unreachable) else 0.0
        return s.Lost(self._now, error, asked) if error.sent else s.Rejected(self._now, error)

    async def _answered(self) -> Event:
        """What the trigger that is under way has brought, after a short wait."""
        sent = self._sent
        if sent is None:
            return s.Exhausted(self._now)
        await asyncio.wait({sent}, timeout=min(SETTLE_STEP, self._until.remaining))
        if not sent.done():
            if self._until.expired:
                raise DeadlineExceeded("the trigger's answer did not come")
            return s.StillOut(self._now)
        self._sent = None
        if sent.cancelled():
            return s.Lost(self._now, OutcomeUnknown("trigger: given up"))
        error = sent.exception()
        if isinstance(error, RunnerError):
            return self._not_begun(error)
        if error is not None:
            raise error
        return self._of_trigger(sent.result())

    async def _cancel(self) -> Event:
        job = self.state.job
        assert job is not None
        if not await self.journal.still_ours(self.deadline):
            error = StateError("its lease in the state ran out, and another process may watch it")
            return s.CancelRefused(self._now, error)
        try:
            now = await self.api.cancel(job, self.deadline, self.observer)
        except RunnerError as error:
            self.observer.emit(events.CancelSent(job.shown_id, None, str(error)))
            return s.CancelRefused(self._now, error)
        self.observer.emit(events.CancelSent(job.shown_id, now.status.value if now else None))
        return s.CancelAnswered(self._now, now)
