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


def test_a_job_that_has_not_started_is_not_certain_and_one_that_ended_without_a_start_is_not_ours() -> None:
    for status in JobStatus:
        assert started(_job(None, status), SINCE, 0.0) is (False if status.terminal else None)
        found = match([_job(None, status)], SINCE, 0.0)
        assert (found.ours, found.doubtful, found.queued) == (None, not status.terminal, not status.terminal)


@pytest.mark.parametrize(
    "start",
    ["soon", "99999-01-01T00:00:00Z", "01.01.2026 00:00:01", "2026-01-01T00:00Z", "2026-01-01 00:00", "2026-01-01", "20260101"],
)  # fmt: skip
def test_a_start_that_cannot_be_read_or_has_no_seconds_is_not_certain(start: str) -> None:
    for status in JobStatus:
        assert started(_job(start, status), SINCE + 20, 0.0) is None
    ours = _job("2026-01-01T00:00:21Z", name="ours")
    assert match([ours, _job("soon")], SINCE + 20, 0.0).ours is ours  # one odd entry does not hide it


def test_a_start_that_was_left_out_as_unreadable_is_not_certain() -> None:
    for status in JobStatus:
        assert started(replace(_job(None, status), unreadable=("start_time",)), SINCE, 0.0) is None


@pytest.mark.parametrize(
    "start",
    [
        "Thu, 01 Jan 2026 00:00:01 GMT", "Thu, 01 Jan 2026 01:00:01 +0100", "2026-01-01 00:00:01 +0000", "2026-01-01 00:00:01 UTC",
        "2026-01-01 01:00:01.5 +0100 CET", "20260101T000001Z", " 2026-01-01T00:00:01.123456789Z ",
    ],
)  # fmt: skip
def test_a_start_is_read_in_the_forms_that_servers_write(start: str) -> None:
    assert started(_job(start), SINCE, 0.0) is True
    assert started(_job(start), SINCE + 86_400, 0.0) is False


@pytest.mark.parametrize(
    ("start", "since"),
    [
        ("2026-01-01T02:00:01", SINCE),  # in the server's own zone
        ("2025-12-31 18:30:20", SINCE),
        ("2026-01-01T00:00:00Z", SINCE + 45),  # truncated to the minute
    ],
)
def test_a_vague_start_is_a_doubt_only_where_no_job_is_certain(start: str, since: float) -> None:
    found = match([_job(start)], since, 0.0)
    assert (found.ours, found.doubtful) == (None, True)
    ours = _job("2026-01-01T00:00:46Z", name="ours")
    assert match([_job(start), ours], since, 0.0).ours is ours
    assert not match([_job("2026-01-01T02:00:01Z")], SINCE, 0.0).doubtful


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
