"""The job state machine. Pure: data in, decision out."""

from runner.errors import ContractError
from runner.models import SyncJob


def advance(before: SyncJob | None, now: SyncJob) -> SyncJob:
    """The job as it is now. Raises ContractError where the API claims an impossible change."""
    if before is None:
        return now
    if now.job_id != before.job_id:
        raise ContractError(f"asked for job {before.job_id[:80]}, the API answered with job {now.job_id[:80]}")
    if not before.status.reaches(now.status):
        raise ContractError(
            f"job {now.job_id[:80]} went from {before.status} to {now.status}, which no job does; not believed"
        )
    return now
