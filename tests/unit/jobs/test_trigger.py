"""Which of the listed jobs can be the one that a trigger in doubt has started."""

from hypothesis import given
from hypothesis import strategies as st

from runner.jobs.trigger import started_since
from runner.models import JobStatus, SyncJob

SINCE = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def _job(start: str | None, status: JobStatus = JobStatus.RUNNING) -> SyncJob:
    return SyncJob("job", status, "health", start_time=start)


def test_a_job_that_started_since_is_one_whether_it_runs_or_has_ended() -> None:
    for status in JobStatus:
        assert len(started_since([_job("2026-01-01T00:00:00Z", status)], SINCE)) == 1
        assert len(started_since([_job("2026-01-01T01:00:00+01:00", status)], SINCE)) == 1
        assert len(started_since([_job("2026-01-01T00:00:00", status)], SINCE)) == 1  # without a zone: UTC
        assert started_since([_job("2025-12-31T23:59:59Z", status)], SINCE) == []


def test_a_job_without_a_start_is_one_only_while_it_has_not_ended() -> None:
    for start in (None, "", "soon", "99999-01-01T00:00:00Z"):
        found = [status for status in JobStatus if started_since([_job(start, status)], SINCE)]
        assert found == [JobStatus.PENDING, JobStatus.RUNNING], start


@given(st.text(max_size=40))
def test_no_start_time_breaks_anything(start: str) -> None:
    assert len(started_since([_job(start)], SINCE)) <= 1
