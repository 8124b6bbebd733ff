"""The same answers in the forms of other APIs: statuses, ids, times, conflicts, pages. Judged by what the API was asked."""

import signal
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.integration.jobs.test_listings import LOST, STATUS, TRIGGER, _job, _paged, _profile
from tests.support.clock import LinkedClock
from tests.support.ledgers import open_ledger
from tests.support.scripted_api import Answers, Asked, Route

pytestmark = pytest.mark.usefixtures("dispositions_kept")

JSON = (("Content-Type", "application/json"),)
CANCEL = "/api/sync/cli/cancel"


def _outcomes(state: Path) -> list[tuple[str | None, str | None]]:
    ledger = open_ledger(state)
    found = [(entry.shown_id, entry.outcome) for entry in ledger.recent(10)]
    ledger.close()
    return found


def _of_one(*answers: Answers) -> Route:
    """The status of the job that is asked for, in turn; its listing is empty."""
    left = list(answers)

    def status(asked: Asked) -> Answers:
        if "job_id" not in asked.query:
            return Answers({"jobs": []})
        return left.pop(0) if len(left) > 1 else left[0]

    return status


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        *(Answers({"job_id": "job-1"}, status) for status in (203, 206, 207, 208, 226)),
        *(Answers(None, status) for status in (204, 205)),
        *(Answers(None, status, (("Location", "/api/jobs/1"),)) for status in (302, 303)),
    ],
)
def test_a_trigger_that_may_have_been_accepted_is_never_followed_by_another(
    tmp_path: Path, answer: Answers, keyed: bool
) -> None:
    """No rule of the profile says what such a success means: the job may run."""
    state, profile = tmp_path / "state", _profile(tmp_path)
    settings: dict[str, Any] = {"state": state, "clock": LinkedClock()} | ({} if keyed else {"profile": profile})
    with _api(answer, _of_one(_shown("running"))) as api:
        first = _run(api, tmp_path, **settings)
        assert (first.code, first.outcomes) == (9, ["contract"])
        assert "it is unknown whether the sync was started" in first.errors
        keys = {one.headers.get("Idempotency-Key") for one in api.at(TRIGGER)}
        assert len(keys) == 1
        assert len(api.at(TRIGGER)) == (3 if keyed else 1)
        assert _outcomes(state) == [(None, None)]


@pytest.mark.parametrize("status", [203, 207, 303])
def test_the_job_of_such_a_trigger_is_found_in_the_listing(tmp_path: Path, status: int) -> None:
    ours = _job(1, minutes=0, status="running")

    def shown(asked: Asked) -> Answers:
        return _shown("completed") if "job_id" in asked.query else Answers({"jobs": [ours]})

    with _api(Answers({"taken": True}, status, (("Location", "/api/jobs/1"),)), shown) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path))
    assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors


@pytest.mark.parametrize("location", ["https://sso.example/login", "http://[", "//elsewhere/x"])
def test_a_redirect_to_another_host_started_nothing(tmp_path: Path, location: str) -> None:
    with _api(Answers(None, 302, (("Location", location),)), _shown("running")) as api:
        told = _run(api, tmp_path, state=tmp_path / "state")
    assert (told.code, len(api.at(TRIGGER))) == (9, 1)
    assert _outcomes(tmp_path / "state") == [(None, "contract")]


@pytest.mark.parametrize("word", ["accepted", "QUEUED", 7, ["queued"], {"name": "queued"}, True])
def test_a_trigger_that_names_its_job_is_polled_whatever_status_it_says(tmp_path: Path, word: Any) -> None:
    begun = Answers({"job_id": "job-1", "status": word})
    with _api(begun, [_shown("running"), _shown("completed")]) as api:
        told = _run(api, tmp_path)
    assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors


@pytest.mark.parametrize(
    ("begun", "shown"),
    [
        ("17.0", "17"), ("1e3", "1000"), ("17", "17.0"), ("9007199254740993", '"9007199254740993"'), ('"017"', "17"),
        ('"Job-A"', '"job-a"'), ('" job-a"', '"job-a"'),
        ('"0A1B2C3D-0000-4000-8000-00000000000F"', '"{0a1b2c3d-0000-4000-8000-00000000000f}"'),
        ('"urn:uuid:0a1b2c3d-0000-4000-8000-00000000000f"', '"0a1b2c3d00004000800000000000000f"'),
    ],
)  # fmt: skip
def test_an_id_in_another_form_is_the_same_job(tmp_path: Path, begun: str, shown: str) -> None:
    def status(asked: Asked) -> Answers:
        word = "completed" if len(api.at(STATUS)) > 2 else "running"
        body = f'{{"jobs": [{{"job_id": {shown}, "sync_type": "health", "status": "{word}"}}]}}'
        return Answers(None, 200, JSON, body.encode())

    with _api(Answers(None, 200, JSON, f'{{"job_id": {begun}}}'.encode()), status) as api:
        told = _run(api, tmp_path)
    assert told.code == 0, told.errors
    assert len({one.query["job_id"][0] for one in api.at(STATUS)}) == 1


@pytest.mark.parametrize("begun", ["17.5", "1e300", "true", "[17]", '{"id": 17}'])
def test_an_id_that_is_none_leaves_the_trigger_in_doubt(tmp_path: Path, begun: str) -> None:
    with _api(Answers(None, 200, JSON, f'{{"job_id": {begun}}}'.encode()), _of_one(_shown("running"))) as api:
        told = _run(api, tmp_path, state=tmp_path / "state", profile=_profile(tmp_path), clock=LinkedClock())
    assert (told.code, len(api.at(TRIGGER))) == (9, 1)
    assert _outcomes(tmp_path / "state") == [(None, None)]


LONG_AGO = datetime(2026, 1, 31, 12, 17, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "start",
    [
        format_datetime(LONG_AGO, usegmt=True), LONG_AGO.strftime("%d.%m.%Y %H:%M"), "yesterday", {"seconds": 5}, True,
        1234, -5, "1.7e9", LONG_AGO.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"), None,
    ],
)  # fmt: skip
def test_a_job_whose_start_cannot_be_read_is_not_taken_for_ours(tmp_path: Path, start: Any) -> None:
    """Somebody else's job of the same type, while our trigger was lost."""
    theirs = {"job_id": "theirs", "sync_type": "health", "status": "running", "start_time": start}

    def shown(asked: Asked) -> Answers:
        return _shown("completed", job="theirs") if "job_id" in asked.query else Answers({"jobs": [theirs]})

    with _api(LOST, shown) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path), clock=LinkedClock())
    assert (told.code, told.outcomes) == (8, ["unknown"])
    assert len(api.at(TRIGGER)) == 1


def test_a_queued_job_is_ours_when_it_starts_soon(tmp_path: Path) -> None:
    def shown(asked: Asked) -> Answers:
        if "job_id" in asked.query:
            return _shown("completed", job="job-1")
        started = len(api.at(STATUS)) > 1
        queued = {"job_id": "job-1", "sync_type": "health", "status": "pending", "start_time": None}
        return Answers({"jobs": [_job(1, minutes=0, status="running") if started else queued]})

    with _api(LOST, shown) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path))
    assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors


def test_a_type_in_another_case_is_the_same_type(tmp_path: Path) -> None:
    ours = _job(1, minutes=0, status="running", sync_type=" Health")

    def shown(asked: Asked) -> Answers:
        return _shown("completed", job="job-1") if "job_id" in asked.query else Answers({"jobs": [ours]})

    with _api(LOST, shown) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path))
    assert told.code == 0, told.errors


def _refused(named: Any = "theirs") -> Answers:
    return Answers({"error": "one runs", "job_id": named}, 409)


def _theirs(status: str, **more: Any) -> Answers:
    return Answers({"jobs": [{"job_id": "theirs", "sync_type": "health", "status": status, **more}]})


def test_a_conflict_with_a_job_of_another_type_is_waited_for_and_not_taken(tmp_path: Path) -> None:
    other = [_theirs("running", sync_type="activities")] * 3 + [_theirs("completed", sync_type="activities")]
    with _api([_refused(), _begun()], [*other, _shown("completed")]) as api:
        told = _run(api, tmp_path, clock=LinkedClock(), state=tmp_path / "state")
    assert (told.code, told.result.results[0].job.job_id) == (0, "job-1")  # type: ignore[union-attr]
    assert _outcomes(tmp_path / "state") == [("job-1", "completed")]


@pytest.mark.parametrize("gone", [404, 410])
def test_a_conflict_with_a_job_that_is_gone_blocks_nothing(tmp_path: Path, gone: int) -> None:
    def status(asked: Asked) -> Answers:
        ours = asked.query.get("job_id") == ["job-1"]
        return _shown("completed") if ours else Answers({"error": "no such job"}, gone)

    with _api([_refused(), _begun()], status) as api:
        told = _run(api, tmp_path, clock=LinkedClock())
    assert (told.code, len(api.at(TRIGGER))) == (0, 2), told.errors


@pytest.mark.parametrize("named", [["theirs"], {"id": "theirs"}, True, 1.5, None])
def test_a_conflict_whose_job_cannot_be_read_is_still_a_conflict(tmp_path: Path, named: Any) -> None:
    with _api(_refused(named), [_theirs("running"), _theirs("running"), _theirs("completed")]) as api:
        told = _run(api, tmp_path, clock=LinkedClock())
    assert (told.code, told.result.results[0].job.job_id) == (0, "theirs"), told.errors  # type: ignore[union-attr]
    assert len(api.at(TRIGGER)) == 1


def test_a_success_that_a_cancel_says_of_itself_is_not_the_jobs(tmp_path: Path) -> None:
    def status(_asked: Asked) -> Answers:
        return _shown("cancelled" if api.at(CANCEL) else "running")

    with _api(_begun(), status) as api:
        api.routes["POST " + CANCEL] = Answers({"status": "completed"})
        told = _run(api, tmp_path, clock=LinkedClock(), deadline={"sync": 30.0}, poll={"max": 2.0})
    assert (told.code, told.outcomes) == (6, ["deadline"]), told.errors
    assert api.at(CANCEL)


def _cursor(pages: list[tuple[list[dict[str, Any]], str | None]]) -> Route:
    """A listing whose responses name the next page's cursor: the number of the page."""

    def status(asked: Asked) -> Answers:
        if "job_id" in asked.query:
            return _shown("completed", job=asked.query["job_id"][0])
        jobs, after = pages[int(asked.query.get("cursor", ["0"])[0])]
        return Answers({"jobs": jobs, "next": after})

    return status


OURS = {"job_id": "job-9"}  # its start is that of the test


@pytest.mark.parametrize(
    "pages",
    [
        [([], "1"), ([OURS], None)],
        [([_job(1, 2)], "1"), ([], "2"), ([], "3"), ([OURS], None)],
        [([_job(1, 2), _job(2, 2)], "1"), ([_job(2, 2)], "2"), ([OURS], None)],
        [([OURS, OURS], None)],
        [([OURS, _job(1, 2)], "1"), ([{**OURS, "status": "completed"}, _job(1, 2)], None)],
        [([_job(1, 900), _job(2, 800)], "1"), ([OURS], None)],
    ],
    ids=["first empty", "middle empty", "moved", "twice on a page", "twice", "oldest first"],
)
def test_the_job_of_a_lost_trigger_is_found_however_the_pages_fall(
    tmp_path: Path, pages: list[tuple[list[dict[str, Any]], str | None]]
) -> None:
    profile = _profile(tmp_path, _paged("{by: cursor, at: next}", 'cursor: "${cursor?}"'))
    ours = _job(9, minutes=0, status="running")
    dated = [([{**ours, **job} for job in jobs], after) for jobs, after in pages]
    with _api(LOST, _cursor(dated)) as api:
        told = _run(api, tmp_path, profile=profile)
    assert (told.code, told.result.results[0].job.job_id) == (0, "job-9"), told.errors  # type: ignore[union-attr]
    assert len(api.at(TRIGGER)) == 1


def _killed(api_status: Route, home: Path, *changes: tuple[str, str]) -> tuple[list[int], int, list[str]]:
    """A lost trigger, and a run two minutes later that may find its job: codes, triggers, and gaps of the listing."""
    state, clock, gaps = home / "state", LinkedClock(), list[str]()
    with _api(LOST, api_status) as api:
        codes = []
        for _ in range(2):
            told = _run(api, home, profile=_profile(home, *changes), state=state, clock=clock)
            codes.append(told.code)
            gaps += [event.problem for event in told.named("sync.list_incomplete")]
            clock.pass_time(120.0)
        return codes, len(api.at(TRIGGER)), gaps


@pytest.mark.parametrize("minutes", [range(1, 4), range(900, 897, -1)], ids=["newest first", "oldest first"])
def test_a_listing_that_is_cut_at_its_limit_does_not_say_that_our_job_is_not(tmp_path: Path, minutes: range) -> None:
    jobs = [_job(number, minutes=age) for number, age in enumerate(minutes)]
    codes, triggers, gaps = _killed(Answers({"jobs": jobs}), tmp_path, ("limit: 100", "limit: 3"))
    assert (codes, triggers) == ([8, 8], 1)
    assert gaps[0] == "it has 3 entries, as many as were requested, and there may be more"


def test_pages_that_lead_in_a_circle_are_left_with_a_doubt(tmp_path: Path) -> None:
    circle = _cursor([([_job(1, 2)], "1"), ([_job(2, 2)], "2"), ([_job(3, 2)], "1")])
    paged = _paged("{by: cursor, at: next}", 'cursor: "${cursor?}"')
    codes, triggers, gaps = _killed(circle, tmp_path, paged)
    assert (codes, triggers) == ([8, 8], 1)
    assert gaps[0] == "page 3 names a page that was read before as the next one"


def test_the_job_of_a_sync_that_had_another_type_is_waited_for_and_not_taken(tmp_path: Path) -> None:
    state, polls = tmp_path / "state", list[str]()

    def status(asked: Asked) -> Answers:
        polls.append(asked.query["job_id"][0])
        return _shown("running" if polls.count("job-1") < 6 else "completed", job=polls[-1])

    with _api(_begun(), _shown("running")) as api:
        before = [{"name": "nightly", "type": "health"}]
        first = _run(api, tmp_path, before, state=state, clock=LinkedClock(), deadline={"sync": 2.0})
        assert first.code == 6
        api.routes["GET " + STATUS] = status
        api.routes["POST " + TRIGGER] = lambda _asked: _begun("early" if polls.count("job-1") < 6 else "job-2")
        told = _run(api, tmp_path, [{"name": "nightly", "type": "activities"}], state=state, clock=LinkedClock())
    assert (told.code, told.result.results[0].job.job_id) == (0, "job-2"), told.errors  # type: ignore[union-attr]
    assert _outcomes(state) == [("job-2", "completed"), ("job-1", "completed")]


def test_a_trigger_in_doubt_of_another_type_is_neither_repeated_nor_looked_for_under_the_new_one(
    tmp_path: Path,
) -> None:
    state, clock, theirs = (
        tmp_path / "state",
        LinkedClock(),
        _job(1, minutes=0, status="running", sync_type="activities"),
    )
    with _api(LOST, Answers({"jobs": [theirs]})) as api:
        _run(api, tmp_path, [{"name": "nightly", "type": "health"}], state=state, clock=clock)
        triggers = len(api.at(TRIGGER))
        second = _run(api, tmp_path, [{"name": "nightly", "type": "activities"}], state=state, clock=clock)
        assert (second.code, len(api.at(TRIGGER))) == (8, triggers)
        clock.pass_time(3700.0)
        api.routes["POST " + TRIGGER] = _begun("job-2")
        api.routes["GET " + STATUS] = _shown("completed", job="job-2")
        assert _run(api, tmp_path, [{"name": "nightly", "type": "activities"}], state=state, clock=clock).code == 0
    assert _outcomes(state) == [("job-2", "completed"), (None, "unknown")]


def test_a_run_key_counts_for_the_type_under_which_the_sync_completed(tmp_path: Path) -> None:
    state, key = tmp_path / "state", {"key": "today"}
    with _api(_begun(), _shown("completed")) as api:
        for kind in ("health", "health", "activities"):
            assert _run(api, tmp_path, [{"name": "nightly", "type": kind}], state=state, run=key).code == 0
    assert [one.json["sync_type"] for one in api.at(TRIGGER)] == ["health", "activities"]


def test_a_job_whose_id_was_given_to_another_users_job_is_unknown_and_left_alone(tmp_path: Path) -> None:
    """An API that restarted without its memory counts from 1 again."""

    def shown(status: str, user: str) -> Answers:
        job = {"job_id": "job-1", "sync_type": "health", "status": status, "user_id": user}
        return Answers({"jobs": [job]})

    state = tmp_path / "state"
    with _api(
        _begun(), [shown("running", "me"), *[shown("running", "another")] * 4, shown("completed", "another")]
    ) as api:
        told = _run(api, tmp_path, state=state, clock=LinkedClock())
    assert (told.code, told.outcomes) == (8, ["unknown"])
    assert "is now another user's" in told.errors
    assert not api.at(CANCEL)
    assert _outcomes(state) == [("job-1", "unknown")]


def test_one_odd_user_in_the_first_poll_makes_no_later_one_anothers(tmp_path: Path) -> None:
    """The session tells whose the job is."""

    def shown(status: str, user: Any) -> Answers:
        return Answers({"jobs": [{"job_id": "job-1", "sync_type": "health", "status": status, "user_id": user}]})

    with _api(_begun(), [shown("running", 7.5), shown("running", "me"), shown("completed", "me")]) as api:
        login = {"success": True, "access_token": "t", "expires_in": 900, "user": {"id": "me"}}
        api.routes["POST /api/auth/cli/login"] = Answers(login)
        told = _run(api, tmp_path, clock=LinkedClock())
    assert told.code == 0, told.errors


def test_a_job_that_is_gone_for_good_does_not_block_the_next_run(tmp_path: Path) -> None:
    state, gone = tmp_path / "state", Answers({"error": "purged"}, 410)
    with _api(_begun(), [_shown("running"), gone]) as api:
        first = _run(api, tmp_path, state=state, clock=LinkedClock())
        assert (first.code, first.outcomes) == (9, ["contract"])
        assert "does not know job job-1 (410: purged)" in first.errors
        api.routes["POST " + TRIGGER] = _begun("job-2")
        api.routes["GET " + STATUS] = _shown("completed", job="job-2")
        assert _run(api, tmp_path, state=state, clock=LinkedClock()).code == 0
    assert [outcome for _, outcome in _outcomes(state)] == ["completed", "unknown"]


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_a_page_in_the_place_of_a_lookup_does_not_end_the_sync(tmp_path: Path, status: int) -> None:
    found = '  lookups:\n    - {request: {path: "/find"}, carry: {found: id}}\n'
    profile = _profile(tmp_path, ("jobs:\n  sync_types", f"jobs:\n{found}  sync_types"))
    page = Answers(None, status, (("Content-Type", "text/html"),), b"<html>starting</html>")
    with _api(_begun(), _shown("completed")) as api:
        api.routes["GET /find"] = [page, page, Answers({"id": 7})]
        told = _run(api, tmp_path, profile=profile)
        assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors
        api.routes["GET /find"] = page
        told = _run(api, tmp_path, profile=profile)
    assert (told.code, told.outcomes, len(api.at(TRIGGER))) == (7, ["unreachable"], 1)


def test_a_cancel_that_tells_of_another_job_says_nothing_of_ours(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _api(_begun(), _shown("running")) as api:
        api.routes["POST " + CANCEL] = Answers({"job_id": "job-2", "status": "cancelled"})
        told = _run(api, tmp_path, state=state, clock=LinkedClock(), deadline={"sync": 30.0}, poll={"max": 2.0})
    assert (told.code, told.outcomes) == (6, ["deadline"])
    assert "job job-1 received a cancel request and has not ended yet" in told.errors
    assert _outcomes(state) == [("job-1", None)]


@pytest.mark.parametrize(
    "answer", [Answers({"status": "ok"}, 207), Answers(None, 205), Answers(None, 303, (("Location", "/api/jobs/1"),))]
)
def test_a_cancel_that_may_have_been_accepted_is_waited_for(tmp_path: Path, answer: Answers) -> None:
    def status(_asked: Asked) -> Answers:
        cancelled = bool(api.asked) and CANCEL in [one.path for one in api.asked[:-2]]
        return _shown("cancelled" if cancelled else "running")

    with _api(_begun(), status) as api:
        api.routes["POST " + CANCEL] = answer
        told = _run(api, tmp_path, interrupt=signal.SIGTERM)
    assert (told.code, told.outcomes) == (143, ["interrupted"]), told.errors
    assert "job job-1 was cancelled" in told.errors
