"""The job state machine and the pace of watching. Pure: data in, decision out."""

from runner.errors import ContractError
from runner.frozen import Frozen
from runner.models import Job, JobStatus

# What may be seen after what. A look can miss states in between, so `pending` may be followed by any; what the data
# model forbids is to go back and to leave a terminal state.
_FOLLOWS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset(JobStatus),
    JobStatus.RUNNING: frozenset(JobStatus) - {JobStatus.PENDING},
    JobStatus.COMPLETED: frozenset({JobStatus.COMPLETED}),
    JobStatus.FAILED: frozenset({JobStatus.FAILED}),
    JobStatus.CANCELLED: frozenset({JobStatus.CANCELLED}),
}


def advance(before: Job | None, now: Job) -> Job:
    """The job as it is now. Raises ContractError where the API claims an impossible change."""
    if before is None:
        return now
    if now.job_id != before.job_id:
        raise ContractError(f"asked for job {before.job_id[:80]}, the API answered with job {now.job_id[:80]}")
    if now.status not in _FOLLOWS[before.status]:
        raise ContractError(
            f"job {now.job_id[:80]} went from {before.status} to {now.status}, which no job does; not believed"
        )
    return now


class Pace(Frozen):
    """Bounds of the time between two looks at a job, in seconds."""

    min: float = 0.25
    max: float = 30.0


def remaining(job: Job, watched: float) -> float | None:
    """Seconds until the job should end, from its progress over the time `watched`; None where nothing tells."""
    done = job.progress
    if job.total_items and job.processed_items is not None:
        done = max(done or 0.0, 100.0 * job.processed_items / job.total_items)
    if not done or done <= 0 or watched <= 0:
        return None
    return watched * (100.0 - min(done, 100.0)) / done


def next_look(job: Job, watched: float, pace: Pace) -> float:
    """Seconds until the next look: quick at first, about 2 % of the time watched later, half of what should remain."""
    floor = max(pace.min, min(pace.max, watched * 0.02))
    left = remaining(job, watched)
    if left is None:
        return floor
    return max(floor, min(pace.max, left / 2))
