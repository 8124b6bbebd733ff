"""Looks at a job until it ends. When to look next is `pace`'s to say, and the API's."""

from collections.abc import Callable

from runner.clock import Deadline
from runner.events import events
from runner.events.observer import Observer
from runner.jobs import transitions
from runner.jobs.context import SyncContext
from runner.jobs.pacing import Pacer
from runner.models import SyncJob


async def watch(
    job: SyncJob,
    shared: SyncContext,
    deadline: Deadline,
    observer: Observer,
    seen: Callable[[SyncJob], None],
) -> SyncJob:
    """The job at its end; `seen` is told each state.

    Raises DeadlineExceeded, Unreachable or ContractError.
    """
    clock, poll_policy = shared.clock, shared.poll_policy
    moved_at = clock.monotonic()
    began = moved_at if job.begun_at is None else job.begun_at
    stalled, pacer = False, Pacer(poll_policy.pace)
    while not job.status.terminal:
        pause = max(pacer.next_poll(job, clock.monotonic() - began, shared.poll_budget.least), job.poll_after or 0.0)
        await clock.sleep(min(pause, deadline.remaining))
        now = transitions.advance(job, await shared.api.poll(job, deadline, observer))
        if (now.status, now.progress, now.processed_items) != (job.status, job.progress, job.processed_items):
            moved_at, stalled = clock.monotonic(), False
        elif not stalled and clock.monotonic() - moved_at >= poll_policy.stall:
            stalled = True
            observer.emit(events.SyncStalled(job.job_id, round(clock.monotonic() - moved_at, 1)))
        job = now
        seen(job)
        observer.emit(
            events.SyncProgress(job.job_id, job.status.value, job.progress, job.processed_items, job.total_items)
        )
    return job
