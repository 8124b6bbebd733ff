"""The engine: runs every account's plan within the deadline, handles signals, returns one result. Knows no terminal or file."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from runner import __version__
from runner.auth.interface import SessionProvider
from runner.clock import GRACE, Clock, Deadline
from runner.engine import fleet, signals
from runner.engine.account import Account, RunContext, open_account, open_client, opened_state
from runner.engine.fleet import AccountPlan
from runner.engine.job_outputs import output_policy
from runner.engine.logins import end_sessions
from runner.engine.selection import check_selection, last_successes, selected
from runner.errors import DeadlineExceeded, ExitCode, RunnerError, Unreachable, UsageError, unforeseen
from runner.events import events
from runner.events.observer import Observer
from runner.http.client import Client
from runner.jobs import outcome
from runner.jobs.context import OutputPolicy, PollPolicy, SyncContext
from runner.jobs.leases import Leases
from runner.jobs.pacing import Pace, PollBudget
from runner.jobs.plan import PlannedSync, plan, zone
from runner.jobs.sync_run import execute, working
from runner.models import AccountResult, Outcome, RunResult, SyncResult, UserSession
from runner.profile import parameters
from runner.settings import Settings, SyncSettings
from runner.settings.values import format_duration
from runner.state.opening import RunState

LOAD_SECONDS = 0.25  # longest wait for the first request to be sent, where the API cannot be reached
RECORD_SECONDS = 1.0  # at an account's end, to store its session's last use
NOT_STARTED = "not started: the run was interrupted"


@dataclass(slots=True)
class Interrupt:
    """Whether a signal arrived, and what it stops. A second signal ends the process immediately, also after the run."""

    observer: Observer
    action: str
    code: ExitCode | None = None
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def __call__(self, number: signal.Signals) -> None:
        """Handles the signal."""
        if self.code is not None:
            signals.leave_at_once(number)
        self.code = ExitCode(signals.code(number))
        self.observer.emit(events.Interrupted(number.name, self.action))
        for task in self.tasks:
            task.cancel()

    def late(self, number: int, _frame: object) -> None:
        """Handles a signal during the report: the rest takes seconds and is finished; the next signal ends it."""
        if self.code is not None:
            signals.leave_at_once(number)
        self.code = ExitCode(signals.code(number))


@contextmanager
def _obeying(interrupt: Interrupt) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    heeded = signals.heeded()
    for number in heeded:
        loop.add_signal_handler(number, interrupt, number)
    early = signals.noted()
    if early is not None:
        interrupt(early)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
            signal.signal(number, interrupt.late)


def deadline_of(settings: Settings, clock: Clock) -> Deadline:
    """Returns the deadline of a run that starts now."""
    seconds, given = settings.deadline.run, format_duration(settings.deadline.run or 0.0)
    return Deadline.after(clock, seconds, f"the run's deadline (deadline.run: {given})", GRACE)


async def run(context: RunContext, observer: Observer, run_id: str, deadline: Deadline) -> RunResult:
    """Runs everything in the settings. Raises UsageError before anything is sent; all other errors are in the result."""
    settings, clock = context.settings, context.clock
    shard, plans = fleet.shard(settings, context.environment), fleet.accounts(settings, context.environment)
    check_plan(context)
    started_at, began = clock.time(), clock.monotonic()
    syncs, part = sum(len(one.syncs) for one in plans), str(shard) if shard else None
    observer.emit(events.RunStarted(__version__, settings.base_url, settings.profile, len(plans), syncs, part))
    interrupt = Interrupt(observer, settings.on_interrupt)
    ended = await _all_accounts(plans, context, observer, run_id, interrupt, deadline)
    flat = tuple(result for _account, results in ended for result in results)
    code = outcome.exit_code((result.outcome for result in flat), interrupted=interrupt.code)
    spent = round(clock.monotonic() - began, 3)
    observer.emit(events.RunEnded.of(code, spent, flat))
    return RunResult(
        run_id, int(code), started_at, clock.time(), settings.base_url, settings.profile, flat,
        accounts=tuple(account for account, _results in ended), shard=part,
    )  # fmt: skip


def check_plan(context: RunContext, *, dates: bool = False) -> list[str]:
    """Returns the names of the syncs of all accounts. Raises UsageError where there is none, or the plan is invalid.

    With `dates`, also where one sync's dates are invalid: in a run, only that sync fails.
    """
    check_selection(context.settings)
    everybody = fleet.configured(context.settings)  # a shard may be empty, the fleet may not
    if not any(one.syncs for one in everybody):
        raise UsageError(
            "syncs: nothing to run; name sync types (`run activities health`) or set `syncs` (SYNC_RUNNER_SYNCS)"
        )
    distinct = {id(one.syncs): one.syncs for one in everybody}.values()  # most accounts share one plan
    planned = [one for syncs in distinct for one in planned_syncs(syncs, context, lambda _name: None)]
    wrong = [one.error for one in planned if one.error]
    if wrong and (dates or len(wrong) == len(planned)):
        raise UsageError(wrong[0])
    return list(dict.fromkeys(sync.name for one in everybody for sync in one.syncs))


async def _all_accounts(
    plans: Sequence[AccountPlan],
    context: RunContext,
    observer: Observer,
    run_id: str,
    interrupt: Interrupt,
    deadline: Deadline,
) -> list[tuple[AccountResult, list[SyncResult]]]:
    """Runs the accounts; returns their results in order. Resources are opened at an account's start and closed at its end."""
    ended: dict[str, tuple[AccountResult, list[SyncResult]]] = {}
    waiting, begin_until = iter(plans), working(deadline)
    poll_budget, leases = PollBudget(context.settings.limits.polls_per_second), Leases()
    ending: list[SessionProvider] = []

    async def one_after_another(client: Client, state: RunState) -> None:
        for one in waiting:
            bound = observer.bind(account=one.name)
            at = one, context, client, state, deadline, begin_until
            work = AccountRun(*at, bound, run_id, interrupt, poll_budget, outputs, leases)
            with poll_budget.joined(min(len(one.syncs), context.concurrency)):
                results = await work.run()
            ending.extend([work.ends] if work.ends else [])
            account = _together(one.name, results, interrupt, work.session)
            ended[one.name] = account, results
            if len(plans) > 1:
                bound.emit(events.AccountEnded(account.exit_code, account.completed, account.total - account.completed))

    at_once = min(context.settings.limits.accounts, len(plans))
    async with (
        opened_state(context, observer, deadline) as state,
        open_client(context, at_once, connect_patience=context.settings.retry.connect_patience) as client,
        AsyncExitStack() as stack,
    ):
        outputs = output_policy(context, stack)
        with _obeying(interrupt):
            asyncio.get_running_loop().call_later(LOAD_SECONDS, context.meanwhile)
            await _open_ledger(state, interrupt, deadline)
            await asyncio.gather(*(one_after_another(client, state) for _ in range(at_once)))
            await end_sessions(ending, context.clock, observer)
    return [ended[one.name] for one in plans]


async def _open_ledger(state: RunState, interrupt: Interrupt, deadline: Deadline) -> None:
    """Opens the ledger, unless a signal arrived. Raises what the ledger raises, DeadlineExceeded at the deadline."""
    if interrupt.code is not None:
        return
    opening = asyncio.ensure_future(state.ledger.open(deadline))
    interrupt.tasks.add(opening)
    try:
        await opening
    except asyncio.CancelledError:
        if interrupt.code is None:
            raise
    except Unreachable as error:
        if deadline.expired:
            raise DeadlineExceeded(f"{error}; {deadline.what} passed") from None
        raise
    finally:
        interrupt.tasks.discard(opening)


def _together(
    name: str, results: Sequence[SyncResult], interrupt: Interrupt, session: UserSession | None
) -> AccountResult:
    outcomes = [result.outcome for result in results]
    stopped = interrupt.code if Outcome.INTERRUPTED in outcomes else None
    code = outcome.exit_code(outcomes, interrupted=stopped)
    user_id, session_id = (session.user_id, session.session_id) if session else (None, None)
    return AccountResult(name, int(code), outcomes.count(Outcome.COMPLETED), len(outcomes), user_id, session_id)


def planned_syncs(
    syncs: Sequence[SyncSettings], context: RunContext, last_success: Callable[[str], float | None]
) -> tuple[PlannedSync, ...]:
    """Returns the syncs with real dates; `last_success` maps a sync name to Unix seconds. Raises UsageError.

    A sync that the profile does not support has an `error`, and fails alone.
    """
    faults: dict[str, str] = {}
    for sync in syncs:
        try:
            parameters.check(context.profile, sync, context.settings.params)
        except UsageError as fault:
            faults[sync.name] = str(fault)
    time_zone = zone(context.settings.time_zone)
    today = datetime.fromtimestamp(context.clock.time(), UTC).astimezone(time_zone).date()
    planned = plan(syncs, today=today, time_zone=time_zone, last_success=last_success)
    return tuple(replace(one, error=faults.get(one.name, one.error)) for one in planned)


@dataclass(slots=True)
class AccountRun:
    """Runs one account's syncs."""

    plan: AccountPlan
    context: RunContext
    client: Client
    state: RunState
    deadline: Deadline
    begin_until: Deadline
    observer: Observer
    run_id: str
    interrupt: Interrupt
    poll_budget: PollBudget
    outputs: OutputPolicy
    leases: Leases
    results: dict[str, SyncResult] = field(default_factory=dict)
    session: UserSession | None = None
    ends: SessionProvider | None = None  # whose session is not stored

    async def run(self) -> list[SyncResult]:
        """Returns every sync's result, in order. A failure here never affects another account."""
        if self.interrupt.code is not None:
            return self._none_begun(Outcome.INTERRUPTED, NOT_STARTED)
        if self.begin_until.expired:
            return self._none_begun(Outcome.DEADLINE, f"not started: {self.deadline.what} had passed")
        try:
            account = open_account(self.plan, self.context, self.client, self.state, self.observer)
            successes = await last_successes(self.plan.syncs, account.target, self.state.ledger, self.deadline)
            planned = planned_syncs(self.plan.syncs, self.context, successes)
            select = self.context.settings.select
            planned = await selected(planned, account.name, account.target, select, self.state.ledger, self.deadline)
            await self._all(planned, account)
            await self._end(account)
            return [self.results[sync.name] for sync in planned]
        except RunnerError as error:
            return self._none_begun(outcome.of_error(error), str(error))
        except Exception as error:  # noqa: BLE001 - a defect met with one account must not stop the others
            return self._none_begun(outcome.of_error(found := unforeseen(error)), str(found))

    async def _end(self, account: Account) -> None:
        """Records the session's user and its last use: a store failure is only a warning here."""
        self.session = account.provider.current
        self.ends = account.provider if any(one.ends for one in account.provider.parts) else None
        try:
            within = Deadline.after(self.context.clock, RECORD_SECONDS, "the time to record").min(self.deadline)
            await account.provider.record_use(within)
        except RunnerError as error:
            self.observer.emit(events.StoreProblem(str(error)))

    def _none_begun(self, ended: Outcome, error: str) -> list[SyncResult]:
        return [
            self.results.get(sync.name) or self._without_job(sync.name, sync.type, ended, error)
            for sync in self.plan.syncs
        ]

    async def _all(self, planned: tuple[PlannedSync, ...], account: Account) -> None:
        settings = self.context.settings
        poll_policy = PollPolicy(
            pace=Pace(settings.poll.min, settings.poll.max),
            stall=settings.poll.stall,
            job_attempts=settings.retry.job_attempts,
            sync_seconds=settings.deadline.sync,
            patience=settings.poll.patience,
        )
        shared = SyncContext(
            account=account.name,
            target=account.target,
            run_id=self.run_id,
            api=account.api,
            ledger=self.state.ledger,
            clock=self.context.clock,
            poll_policy=poll_policy,
            cancel_on_interrupt=settings.on_interrupt == "cancel",
            poll_budget=self.poll_budget,
            interruptible=self.interrupt.tasks,
            run_key=settings.run.key,
            outputs=self.outputs,
            leases=self.leases,
        )
        free = asyncio.Semaphore(self.context.concurrency)
        ended = {name: asyncio.Event() for sync in planned for name in sync.after}
        works = [self._one(sync, shared, free, ended) for sync in planned]
        await (works[0] if len(works) == 1 else asyncio.gather(*works))  # a task less for each account of a fleet

    async def _one(
        self, sync: PlannedSync, shared: SyncContext, free: asyncio.Semaphore, ended: dict[str, asyncio.Event]
    ) -> None:
        for name in sync.after:
            await ended[name].wait()
        async with free:
            reason = self._reason_to_skip(sync)
            if reason:
                result = self._without_job(sync.name, sync.sync_type, *reason)
            elif sync.nothing:
                result = self._without_job(sync.name, sync.sync_type, Outcome.COMPLETED, None, note=sync.nothing)
            else:
                observer = self.observer.bind(sync=sync.name, sync_type=sync.sync_type)
                try:
                    result = await execute(sync, shared, self.deadline, observer)
                except Exception as error:  # noqa: BLE001 - see `run`
                    found = unforeseen(error)
                    result = self._without_job(sync.name, sync.sync_type, outcome.of_error(found), str(found))
            self.results[sync.name] = result
            if sync.name in ended:
                ended[sync.name].set()

    def _reason_to_skip(self, sync: PlannedSync) -> tuple[Outcome, str] | None:
        """Returns why a sync is not started: invalid dates, a signal, a failed sync before it, or an API that is down."""
        if sync.error:
            return Outcome.CONFIGURATION, sync.error
        if self.interrupt.code is not None:
            return Outcome.INTERRUPTED, NOT_STARTED
        down = self.client.budget.down
        if down:
            return Outcome.SKIPPED, f"not started: the API is down ({down})"
        results = self.results
        failed = next((name for name in sync.after if results[name].outcome is not Outcome.COMPLETED), None)
        if failed:
            return Outcome.SKIPPED, f"not started: `{failed}`, which it comes after, did not complete"
        for result in results.values():
            if result.hopeless or (result.outcome is Outcome.DEADLINE and self.begin_until.expired):
                return Outcome.SKIPPED, f"not started: {result.name} ended with: {result.error}"
            if self.context.settings.on_failure == "stop" and result.outcome is not Outcome.COMPLETED:
                return Outcome.SKIPPED, f"not started: `{result.name}` did not complete and on_failure is stop"
        return None

    def _without_job(
        self, name: str, sync_type: str, ended: Outcome, error: str | None, *, note: str | None = None
    ) -> SyncResult:
        result = SyncResult(self.plan.name, name, sync_type, ended, error=error, started_at=None, note=note)
        self.observer.bind(sync=name, sync_type=sync_type).emit(events.SyncEnded.of(result))
        return result
