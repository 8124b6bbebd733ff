"""The job state machine. Pure: data in, decision out."""

from runner.errors import ContractError
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
