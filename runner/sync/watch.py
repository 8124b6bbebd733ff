"""Looks at a job until it ends. When to look next is `pace`'s to say, and the API's."""

from collections.abc import Callable

from runner.clock import Deadline
from runner.models import Job
from runner.observe import events
from runner.observe.interface import Observer
from runner.sync import states
from runner.sync.execution import Execution
from runner.sync.pace import Pacer


async def watch(
    job: Job,
    shared: Execution,
    deadline: Deadline,
    observer: Observer,
    seen: Callable[[Job], None],
) -> Job:
    """The job at its end; `seen` is told each state.

    Raises DeadlineExceeded, Unreachable or ContractError.
    """
    clock, watching = shared.clock, shared.watching
    moved_at = clock.monotonic()
    began = moved_at if job.begun_at is None else job.begun_at
    stalled, pacer = False, Pacer(watching.pace)
    while not job.status.terminal:
        pause = max(pacer.next_look(job, clock.monotonic() - began, shared.crowd.least), job.look_again or 0.0)
        await clock.sleep(min(pause, deadline.left))
        now = states.advance(job, await shared.api.look(job, deadline, observer))
        if (now.status, now.progress, now.processed_items) != (job.status, job.progress, job.processed_items):
            moved_at, stalled = clock.monotonic(), False
        elif not stalled and clock.monotonic() - moved_at >= watching.stall:
            stalled = True
            observer.emit(events.SyncStalled(job.job_id, round(clock.monotonic() - moved_at, 1)))
        job = now
        seen(job)
        observer.emit(
            events.SyncProgress(job.job_id, job.status.value, job.progress, job.processed_items, job.total_items)
        )
    return job
