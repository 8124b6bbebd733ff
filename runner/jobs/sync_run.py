"""Runs one sync from start to result: drives the state machine, records and reports the outcome."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.clock import GRACE, Deadline
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.context import SyncContext
from runner.jobs.drive import Drive
from runner.jobs.endings import ending, hopeless
from runner.jobs.plan import PlannedSync
from runner.jobs.states import Do
from runner.models import Outcome, SyncResult
from runner.settings.values import format_duration

if TYPE_CHECKING:
    from runner.jobs.job_outputs import Fetching

CANCEL_SECONDS = (
    2.0  # at most, of the end of a deadline: to cancel a running job or look up a possible one (decision 0028)
)
CANCEL_SHARE = 0.1  # of a short deadline
DONE_BEFORE = "completed by an earlier try of this run (run.key); nothing was triggered"


def working(deadline: Deadline) -> Deadline:
    """Returns until when work continues, so that a running job can be cancelled before `deadline`."""
    return deadline.minus(min(CANCEL_SECONDS, CANCEL_SHARE * deadline.remaining))


async def execute(sync: PlannedSync, shared: SyncContext, run_deadline: Deadline, observer: Observer) -> SyncResult:
    """Runs `sync` to its end and reports its outcome. Raises nothing foreseen; when interrupted, it cancels the job first."""
    shared = replace(shared, api=shared.api.about(sync))
    began, started_at = shared.clock.monotonic(), shared.clock.time()
    seconds = shared.poll_policy.sync_seconds
    name = f"the sync's deadline (deadline.sync: {format_duration(seconds or 0.0)})"
    deadline = Deadline.after(shared.clock, seconds, name, GRACE).min(run_deadline)
    drive = Drive(shared, sync, deadline, working(deadline), observer)
    fetching = _fetching(shared, drive, observer) if _follows(shared) else None
    if fetching is not None:
        fetching.follow(deadline)
    try:
        last = await _driven(drive, shared, fetching)
        result = _result(drive, last, deadline.what, started_at, shared.clock.monotonic() - began)
        await _close(drive, result)
    finally:
        await drive.release()
    if _leaves_something(shared, drive, result) and not deadline.expired:
        fetching = fetching or _fetching(shared, drive, observer)
        result = result if fetching is None else await fetching.fetched(result, deadline)
    if fetching is not None:
        await fetching.close()
    return result


def _result(drive: Drive, last: Do, limit: str, started_at: float, duration: float) -> SyncResult:
    """Returns the sync's result; `limit` names the deadline that held."""
    ended, error = ending(drive.state, last, drive.facts, limit)
    return SyncResult(
        account=drive.shared.account,
        name=drive.sync.name,
        sync_type=drive.sync.sync_type,
        outcome=ended,
        job=drive.state.job,
        error=error,
        started_at=started_at,
        duration=duration,
        attempts=drive.state.attempt,
        adopted=drive.state.adopted,
        note=DONE_BEFORE if last is Do.END_DONE else None,
        hopeless=hopeless(drive.state, last),
    )


async def _driven(drive: Drive, shared: SyncContext, fetching: "Fetching | None") -> Do:
    """Drives the sync to its end, or to where a signal stops it."""
    work = asyncio.create_task(drive.course())
    shared.interruptible.add(work)
    try:
        return await work
    except asyncio.CancelledError:
        return await drive.stop()
    finally:
        if fetching is not None:
            await fetching.stop()
        shared.interruptible.discard(work)


def _follows(shared: SyncContext) -> bool:
    """Whether the log of a running job is shown."""
    return shared.outputs is not None and shared.outputs.logs.show == "follow" and shared.api.profile.logs is not None


def _fetching(shared: SyncContext, drive: Drive, observer: Observer) -> "Fetching | None":
    """Loaded on use: most runs fetch nothing."""
    if shared.outputs is None:
        return None
    from runner.jobs.job_outputs import Fetching

    return Fetching(shared.outputs, shared, drive, observer)


def _leaves_something(shared: SyncContext, drive: Drive, result: SyncResult) -> bool:
    """Whether more than the status of the sync's job is needed. After a signal, nothing is."""
    policy, profile, job = shared.outputs, shared.api.profile, drive.state.job
    if policy is None or job is None or result.job is None or not job.status.terminal:
        return False
    if result.outcome not in (Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED) or result.note:
        return False
    failed = result.outcome is Outcome.FAILED or bool(drive.retried)
    logs = profile.logs is not None and (
        policy.logs.show in ("all", "follow") or (policy.logs.show == "failed" and failed)
    )
    return logs or profile.results is not None or (profile.artifacts is not None and policy.artifacts.dir is not None)


async def _close(drive: Drive, result: SyncResult) -> None:
    """Records and reports the end. A job that continues, or may, stays open for the next run.

    It is recorded before the lock is released: who waits for it would take the open entry for a lost trigger.
    """
    job = result.job
    goes_on = job is not None and not job.status.terminal
    if goes_on and job is not None:
        await drive.journal.job(job, external=drive.state.external)  # a signal may have arrived before it was written
    elif not drive.state.doubtful and result.outcome is not Outcome.UNKNOWN:
        await drive.journal.end(result.outcome, job, result.error)
    drive.observer.emit(events.SyncEnded.of(result))
