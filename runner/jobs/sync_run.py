"""One sync from its start to its result: drives the machine, and writes and tells how it ended."""

import asyncio
from dataclasses import replace

from runner.clock import Deadline
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.context import SyncContext
from runner.jobs.drive import Drive
from runner.jobs.endings import ending, hopeless
from runner.jobs.plan import PlannedSync
from runner.jobs.states import Do
from runner.models import Outcome, SyncResult

CANCEL_SECONDS = 2.0  # of a deadline's end, at most: for cancelling what runs, or looking up what may run
CANCEL_SHARE = 0.1  # of a short deadline
DONE_BEFORE = "completed by an earlier try of this run (run.key); nothing was triggered"


def working(deadline: Deadline) -> Deadline:
    """Until when there is work to do, so that what runs can be cancelled before `deadline`."""
    return deadline.minus(min(CANCEL_SECONDS, CANCEL_SHARE * deadline.remaining))


async def execute(sync: PlannedSync, shared: SyncContext, run_deadline: Deadline, observer: Observer) -> SyncResult:
    """Run `sync` to its end and tell how it ended. Raises nothing foreseen; interrupted, it cancels the job first."""
    shared = replace(shared, api=shared.api.about(sync))
    clock = shared.clock
    began, started_at = clock.monotonic(), clock.time()
    deadline = Deadline.after(clock, shared.poll_policy.sync_seconds, "the sync's deadline").min(run_deadline)
    drive = Drive(shared, sync, deadline, working(deadline), observer)
    work = asyncio.create_task(drive.course())
    shared.interruptible.add(work)
    try:
        last = await work
    except asyncio.CancelledError:
        last = await drive.stop()
    finally:
        shared.interruptible.discard(work)
        await drive.release()
    state = drive.state
    ended, error = ending(state, last, drive.facts, deadline.what)
    result = SyncResult(
        account=shared.account,
        name=sync.name,
        sync_type=sync.sync_type,
        outcome=ended,
        job=state.job,
        error=error,
        started_at=started_at,
        duration=clock.monotonic() - began,
        attempts=state.attempt,
        adopted=state.adopted,
        note=DONE_BEFORE if last is Do.END_DONE else None,
        hopeless=hopeless(state, last),
    )
    await _close(drive, result)
    return result


async def _close(drive: Drive, result: SyncResult) -> None:
    """Write the end into the ledger and tell it. A job that goes on, or may, stays open for the next run."""
    job = result.job
    goes_on = job is not None and not job.status.terminal
    if goes_on and job is not None:
        await drive.journal.job(job, external=drive.state.external)  # a signal may have come before it was written
    elif not drive.state.doubtful and result.outcome is not Outcome.UNKNOWN:
        await drive.journal.end(result.outcome, job, result.error)
    drive.observer.emit(events.SyncEnded.of(result))
