"""Which of the listed jobs is that of a trigger in doubt, and how far the server's clock is trusted for it."""

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.external import ExternalText
from runner.http.messages import Response, from_outside
from runner.http.server_time import ServerTime
from runner.jobs.identity import match, started
from runner.models import JobStatus, SyncJob

SINCE = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def _job(start: str | None, status: JobStatus = JobStatus.RUNNING, name: str = "job") -> SyncJob:
    return SyncJob(ExternalText(name), status, "health", start_time=None if start is None else ExternalText(start))


@pytest.mark.parametrize(
    ("start", "ours"),
    [
        ("2025-12-31T23:59:56Z", False),
        ("2025-12-31T23:59:57Z", True),
        ("2026-01-01T00:00:00", True),  # without a zone: UTC
        ("2026-01-01T01:00:00+01:00", True),
        ("2026-01-01T00:02:00Z", True),
        ("2026-01-01T00:02:01Z", None),
        ("2026-01-01T01:00:00Z", None),
        ("2026-01-01T01:00:01Z", False),
    ],
)
@pytest.mark.parametrize("skew", [0.0, -600.0, 45.5])
def test_a_job_that_started_soon_after_the_trigger_is_ours_whatever_the_skew(
    start: str, ours: bool | None, skew: float
) -> None:
    for status in JobStatus:
        assert started(_job(start, status), SINCE - skew, skew) is ours


def test_without_a_known_skew_nothing_is_certain_that_has_a_start() -> None:
    assert started(_job("2026-01-01T00:00:00Z"), SINCE, None) is None
    assert match([_job("2026-01-01T00:00:00Z")], SINCE, None).doubtful
    assert match([_job("2026-01-01T00:00:00Z")], SINCE, None).ours is None


def test_a_job_without_a_start_may_be_ours_only_while_it_has_not_ended() -> None:
    for start in (None, "", "soon", "99999-01-01T00:00:00Z"):
        found = [status for status in JobStatus if started(_job(start, status), SINCE, 0.0)]
        assert found == [JobStatus.PENDING, JobStatus.RUNNING], start


def test_one_job_is_ours_two_are_nobodys() -> None:
    ours, earlier = _job("2026-01-01T00:00:01Z", JobStatus.COMPLETED), _job("2025-12-31T00:00:00Z", name="old")
    found = match([ours, earlier], SINCE, 0.0)
    assert (found.ours, found.running, found.doubtful) == (ours, earlier, False)
    second = replace(ours, job_id=ExternalText("second"))
    assert match([ours, second], SINCE, 0.0).ours is None
    assert match([ours, second], SINCE, 0.0).doubtful
    assert match([], SINCE, 0.0) == match([_job("2025-12-31T00:00:00Z", JobStatus.FAILED)], SINCE, 0.0)


@given(st.text(max_size=40))
def test_no_start_time_breaks_anything(start: str) -> None:
    assert started(_job(start), SINCE, 0.0) in (True, False, None)


def _answer(date: float, at: float, **headers: str) -> Response:
    return Response(200, from_outside({"date": formatdate(date, usegmt=True), **headers}), None, False, at, at, 0.0)


def test_the_servers_clock_is_believed_when_answers_of_different_dates_agree() -> None:
    server = ServerTime()
    assert server.skew is None
    server.note(_answer(SINCE + 600, SINCE))
    server.note(_answer(SINCE + 600, SINCE + 0.4))
    assert server.skew is None  # one date, however often it is told
    server.note(_answer(SINCE + 604, SINCE + 4.2))
    assert server.skew is not None
    assert abs(server.skew - 600) < 1.0


def test_a_date_that_a_server_cached_does_not_move_its_clock() -> None:
    server = ServerTime()
    for second in range(3):
        server.note(_answer(SINCE + second, SINCE + second + 0.5))
    for late in (3.5, 7.9):
        server.note(_answer(SINCE + 10, SINCE + 10 + late))
    assert server.skew is not None
    assert abs(server.skew) < 1.0


def test_dates_that_do_not_agree_and_those_of_shared_caches_say_nothing() -> None:
    server = ServerTime()
    server.note(_answer(SINCE, SINCE))
    server.note(_answer(SINCE + 30, SINCE))
    assert server.skew is None
    cached = ServerTime()
    for second in range(5):
        cached.note(_answer(SINCE + second, SINCE + second, age="7"))
    assert cached.skew is None
    assert ServerTime().skew is None
