"""Listings as real APIs give them: in pages, too large, with odd entries. Judged by what the API was asked."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner import profile as profiles
from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.support.clock import LinkedClock
from tests.support.command_line import sync_runner
from tests.support.in_process import RunOutput
from tests.support.scripted_api import Answers, Asked, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

KEYLESS = (
    ("    idempotent: true\n", ""),
    ('      headers: {Idempotency-Key: "${idempotency_key}"}\n', ""),
)
LOST = Answers({"error": "lost"}, 502)
TRIGGER, STATUS = "/api/sync/cli/trigger", "/api/sync/cli/status"
JSON = (("Content-Type", "application/json"),)


def _job(number: int, minutes: float = 60.0, status: str = "completed", **more: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    return {"job_id": f"job-{number}", "sync_type": "health", "status": status, "start_time": at, **more}


def _profile(home: Path, *changes: tuple[str, str]) -> str:
    """The built-in profile without keys, so that a lost trigger is looked for in the listing."""
    text = profiles.locate("garminsync").read_text()
    for old, new in (*KEYLESS, *changes):
        assert old in text
        text = text.replace(old, new)
    path = home / "profile.yaml"
    path.write_text(text)
    return str(path)


def _paged(pages: str, query: str = "limit: 100") -> tuple[str, str]:
    old = "    request: {path: /api/sync/cli/status, query: {limit: 100}}\n"
    return old, f"    request: {{path: /api/sync/cli/status, query: {{{query}}}}}\n    pages: {pages}\n"


class _Pages:
    """The newest jobs in pages of two; ours, the newest, comes first or last as asked."""

    def __init__(self, jobs: list[dict[str, Any]], link: Callable[[int, str], dict[str, Any]], api: str = "") -> None:
        self.jobs, self.link, self.api = jobs, link, api

    def __call__(self, asked: Asked) -> Answers:
        if "job_id" in asked.query:
            wanted = asked.query["job_id"][0]
            return Answers({"jobs": [{**job, "status": "completed"} for job in self.jobs if job["job_id"] == wanted]})
        first = int((asked.query.get("offset") or asked.query.get("cursor") or ["0"])[0])
        first = 2 * int(asked.query["page"][0]) - 2 if "page" in asked.query else first
        body: dict[str, Any] = {"jobs": self.jobs[first : first + 2]}
        headers: dict[str, str] = {}
        if first + 2 < len(self.jobs):
            more = self.link(first + 2, self.api)
            headers = more.pop("headers", {})
            body |= more
        return Answers(body, 200, tuple(headers.items()))


def _lost(tmp_path: Path, pages: _Pages, *changes: tuple[str, str], **settings: Any) -> tuple[RunOutput, ScriptedApi]:
    """A trigger whose answer is lost, and what came of the search for its job."""
    home = tmp_path
    with _api(LOST, pages) as api:
        pages.api = api.base_url
        told = _run(api, home, profile=_profile(home, *changes), **settings)
    return told, api


OLD = [_job(number, minutes=2) for number in range(5)]
PAGES = {
    "offset": (("{by: offset}", 'limit: 2, offset: "${offset}"'), lambda at, api: {}),
    "page": (("{by: page}", 'page: "${page}"'), lambda at, api: {}),
    "cursor": (("{by: cursor, at: next}", 'cursor: "${cursor?}"'), lambda at, api: {"next": at}),
    "url": (("{by: url, at: next}",), lambda at, api: {"next": f"{api}/api/sync/cli/status?offset={at}"}),
    "relative": (("{by: url, at: next}",), lambda at, api: {"next": f"?offset={at}"}),
    "another host": (
        ("{by: url, at: [{header: X-Next}]}",),
        lambda at, api: {"headers": {"X-Next": f"http://internal.invalid:8080/api/sync/cli/status?offset={at}"}},
    ),
    "link": (
        ("{by: link}",),
        lambda at, api: {"headers": {"Link": f'</x>; rel="prev", </api/sync/cli/status?offset={at}>; rel="next last"'}},
    ),
}


@pytest.mark.parametrize("kind", PAGES)
def test_the_job_of_a_lost_trigger_is_found_on_a_later_page(tmp_path: Path, kind: str) -> None:
    how, link = PAGES[kind]
    ours = _job(9, minutes=0, status="running")
    told, api = _lost(tmp_path, _Pages([*OLD, ours], link), _paged(*how))
    assert (told.code, told.result.results[0].job.job_id) == (0, "job-9"), told.errors  # type: ignore[union-attr]
    assert len(api.at(TRIGGER)) == 1
    assert all(one.headers["Host"] in api.base_url for one in api.asked)


def test_pages_are_read_no_further_than_the_time_of_the_trigger(tmp_path: Path) -> None:
    how, link = PAGES["offset"]
    jobs = [_job(9, minutes=0, status="running"), *[_job(number, minutes=300) for number in range(50)]]
    told, api = _lost(tmp_path, _Pages(jobs, link), _paged(*how))
    assert told.code == 0
    assert {one.query["offset"][0] for one in api.at(STATUS) if "offset" in one.query} == {"0"}


def test_an_api_that_knows_no_pages_is_not_asked_without_end(tmp_path: Path) -> None:
    how, _ = PAGES["page"]
    same = Answers({"jobs": OLD[:2]})
    with _api(LOST, same) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path, _paged(*how)), clock=LinkedClock())
    assert told.code == 8
    assert {one.query["page"][0] for one in api.at(STATUS)} == {"1", "2"}


def test_more_pages_than_are_read_leave_a_doubt_that_is_told_once(tmp_path: Path) -> None:
    how, link = PAGES["cursor"]
    many = [_job(number, minutes=2) for number in range(40)]
    told, _ = _lost(
        tmp_path, _Pages(many, link), _paged("{by: cursor, at: next, most: 3}", how[1]), clock=LinkedClock()
    )
    assert told.code == 8
    assert [event.problem for event in told.named("sync.list_incomplete")] == [
        "there are more than 3 pages; the first 3 were read"
    ]


def _large(jobs: list[dict[str, Any]], *, packed: bool = False) -> Answers:
    raw = json.dumps({"total": len(jobs), "jobs": jobs}).encode()
    return Answers(
        None, 200, (*JSON, *((("Content-Encoding", "gzip"),) if packed else ())), gzip.compress(raw) if packed else raw
    )


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_listing_that_is_too_large_the_newest_jobs_count(tmp_path: Path, packed: bool) -> None:
    ours = _job(0, minutes=0, status="running", tags=["a", {"b": [1, 2]}])
    jobs = [ours, *[_job(number, minutes=600, note='[{"' * 20) for number in range(1, 9000)]]
    assert len(json.dumps(jobs)) > 1 << 20

    def status(asked: Asked) -> Answers:
        return _shown("completed", job="job-0") if "job_id" in asked.query else _large(jobs, packed=packed)

    with _api(LOST, status) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path))
    assert told.code == 0, told.errors
    assert "exceeds the size limit" in told.named("sync.list_incomplete")[0].problem


def test_a_large_listing_without_our_job_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """A killed run's intent is not closed for a listing that may hold its job further on."""
    jobs = [_job(number, minutes=600, note="x" * 100) for number in range(9000)]
    state, clock = tmp_path / "state", LinkedClock()
    with _api(LOST, _large(jobs)) as api:
        codes = []
        for _ in range(3):
            codes.append(_run(api, tmp_path, profile=_profile(tmp_path), state=state, clock=clock).code)
            clock.pass_time(120.0)
    assert codes == [8, 8, 8]
    assert len(api.at(TRIGGER)) == 1


def test_status_shows_the_newest_jobs_of_a_listing_that_is_too_large(tmp_path: Path) -> None:
    jobs = [_job(number, minutes=number, note="x" * 200) for number in range(6000)]
    with _api(_begun(), _large(jobs)) as api:
        (tmp_path / "secrets").mkdir()
        for name in ("username", "password"):
            (tmp_path / "secrets" / name).write_text("a pass word")
        told = sync_runner("status", "--json", "--base-url", api.base_url, "--secrets-dir", str(tmp_path / "secrets"))
    assert told.code == 0, told.stderr
    assert [job["job_id"] for job in told.report["accounts"][0]["sync_jobs"]] == [f"job-{n}" for n in range(10)]


@pytest.mark.parametrize(
    "odd",
    [
        {"job_id": "x", "status": "archived", "start_time": "2020-01-01T00:00:00Z"},
        {"job_id": None, "status": "running", "start_time": 1577836800},
        {"job_id": ["x"], "status": 7},
        {"status": "completed"},
        None,
        "job",
    ],
)
def test_an_entry_that_cannot_be_read_does_not_hide_the_job_of_a_lost_trigger(tmp_path: Path, odd: Any) -> None:
    jobs = [odd, _job(1, minutes=0, status="running"), odd]

    def status(asked: Asked) -> Answers:
        return _shown("completed", job="job-1") if "job_id" in asked.query else Answers({"jobs": jobs})

    with _api(LOST, status) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path))
    assert told.code == 0, told.errors
    assert len(told.named("sync.list_incomplete")) == 1
    assert told.named("sync.list_incomplete")[0].problem.startswith("2 of 3 entries cannot be read, such as: ")


@pytest.mark.parametrize("odd", [_job(5, minutes=0, status="archived"), {"job_id": None, "status": "running"}])
def test_an_entry_that_cannot_be_read_may_be_the_job_that_a_killed_run_triggered(tmp_path: Path, odd: Any) -> None:
    state, clock = tmp_path / "state", LinkedClock()
    with _api(LOST, Answers({"jobs": [odd]})) as api:
        codes = []
        for _ in range(2):
            codes.append(_run(api, tmp_path, profile=_profile(tmp_path), state=state, clock=clock).code)
            clock.pass_time(120.0)
    assert codes == [8, 8]
    assert len(api.at(TRIGGER)) == 1


@pytest.mark.parametrize("body", [None, {"jobs": 7}, {"success": True}, {"job": []}, 12])
def test_an_answer_of_another_shape_is_not_the_word_that_a_job_is_gone(tmp_path: Path, body: Any) -> None:
    clock, state = LinkedClock(), tmp_path / "state"
    odd = Answers(None, 200, JSON, json.dumps(body).encode())
    with _api(_begun(), [_shown("running"), odd]) as api:
        codes = [_run(api, tmp_path, state=state, clock=clock).code for _ in range(3)]
    assert codes == [9, 9, 9]
    assert len(api.at(TRIGGER)) == 1


def test_where_missing_does_not_mean_gone_a_job_is_polled_on_and_then_unknown(tmp_path: Path) -> None:
    changed = ("    job: jobs[0]\n", "    job: jobs[0]\n    missing_is_gone: false\n")
    missing = Answers({"error": "unknown task"}, 404)
    state = tmp_path / "state"
    settings: dict[str, Any] = {"profile": _profile(tmp_path, changed), "state": state, "poll": {"patience": 60.0}}
    with _api(_begun(), [_shown("running"), *[missing] * 9, _shown("completed")]) as api:
        told = _run(api, tmp_path, clock=LinkedClock(), **settings)
    assert told.code == 0, told.errors
    with _api(_begun(), [_shown("running"), missing]) as api:
        codes = [_run(api, tmp_path, clock=LinkedClock(), **settings).code for _ in range(3)]
    assert codes == [7, 8, 8]
    assert len(api.at(TRIGGER)) == 1
