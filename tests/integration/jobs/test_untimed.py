"""APIs that report no start and take no key: a lost trigger's job is the only one that was not listed before it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.integration.jobs.test_listings import LOST, STATUS, TRIGGER, _profile
from tests.support.clock import LinkedClock
from tests.support.scripted_api import Answers, Asked

pytestmark = pytest.mark.usefixtures("dispositions_kept")

UNTIMED = ("\njobs:\n", "\njobs:\n  fields: {start_time: null}\n")
LOGIN = "/api/auth/cli/login"


def _one(name: str, status: str = "running") -> dict[str, Any]:
    return {"job_id": name, "sync_type": "health", "status": status}


def _lists(*lists: list[dict[str, Any]] | Answers) -> Callable[[Asked], Answers]:
    """The listings, one for each time it is asked for; each job that is polled has completed."""
    left = list(lists)

    def status(asked: Asked) -> Answers:
        if "job_id" in asked.query:
            return _shown("completed", job=asked.query["job_id"][0])
        listed = left.pop(0) if len(left) > 1 else left[0]
        return listed if isinstance(listed, Answers) else Answers({"jobs": listed})

    return status


@pytest.mark.parametrize(
    "before",
    [[], [_one("theirs")], [_one("theirs"), _one("old", "completed")], [_one("old", "failed")]],
)
@pytest.mark.parametrize("status", ["pending", "running", "completed"])
def test_the_only_new_job_is_ours(tmp_path: Path, before: list[dict[str, Any]], status: str) -> None:
    with _api(LOST, _lists(before, before, [_one("ours", status), *before])) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path, UNTIMED), clock=LinkedClock())
    assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors
    assert told.result.results[0].job.job_id == "ours"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([_one("theirs")], [_one("theirs")]),
        ([_one("theirs"), _one("ended")], [_one("theirs")]),
        ([_one(" THEIRS ")], [_one("theirs")]),
        ([], [_one("one"), _one("another")]),
        ([_one("old", "completed")], [_one("one"), _one("another", "completed"), _one("old", "completed")]),
    ],
)  # fmt: skip
def test_a_job_that_was_there_before_or_is_one_of_two_is_never_taken_for_ours(
    tmp_path: Path, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    with _api(LOST, _lists(before, after)) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path, UNTIMED), clock=LinkedClock())
    assert (told.code, told.outcomes, len(api.at(TRIGGER))) == (8, ["unknown"], 1)


@pytest.mark.parametrize(
    "before",
    [
        Answers({}, 503),
        Answers({}, 429, (("Retry-After", "99999"),)),
        Answers({"error": "no"}, 403),
        Answers("no JSON"),
        Answers({"jobs": [{"status": "running"}]}),
    ],
)
def test_without_a_whole_list_from_before_the_only_running_job_is_not_ours(tmp_path: Path, before: Answers) -> None:
    """A list that only informs stops nothing; it gives no certainty either."""
    with _api(LOST, _lists(*[before] * 9, [_one("perhaps")])) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path, UNTIMED), clock=LinkedClock())
    assert (told.code, len(api.at(TRIGGER))) == (8, 1), told.errors
    with _api(_begun(), _lists(before)) as api:
        told = _run(api, tmp_path, profile=_profile(tmp_path, UNTIMED), clock=LinkedClock())
    assert (told.code, len(api.at(TRIGGER))) == (0, 1), told.errors


def test_what_an_earlier_run_left_in_doubt_is_never_taken_and_is_triggered_anew_when_nothing_runs(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"profile": _profile(tmp_path, UNTIMED), "state": tmp_path / "state"}
    listed = [_one("one"), _one("two")]

    def status(asked: Asked) -> Answers:
        return _lists(listed)(asked) if "job_id" in asked.query or api.at(TRIGGER) else Answers({"jobs": []})

    with _api([LOST, _begun("third")], status) as api:
        codes = [_run(api, tmp_path, clock=LinkedClock(), **settings).code]
        listed = [_one("two")]
        codes.append(_run(api, tmp_path, clock=LinkedClock(), **settings).code)  # nobody knows whose it is
        assert len(api.at(TRIGGER)) == 1
        listed = [_one("two", "completed")]
        codes.append(_run(api, tmp_path, clock=LinkedClock(), **settings).code)
    assert (codes, len(api.at(TRIGGER))) == ([8, 8, 0], 2)


def test_a_refused_login_is_tried_once_although_two_requests_need_it(tmp_path: Path) -> None:
    with _api(_begun(), _lists([])) as api:
        api.routes[f"POST {LOGIN}"] = Answers({"error": "wrong password"}, 401)
        told = _run(api, tmp_path, profile=_profile(tmp_path, UNTIMED), clock=LinkedClock())
    assert (told.code, len(api.at(LOGIN)), len(api.at(TRIGGER))) == (3, 1, 0), told.errors


@pytest.mark.parametrize("timed", [True, False])
def test_only_an_api_without_start_and_key_is_asked_before_the_trigger(tmp_path: Path, timed: bool) -> None:
    with _api(_begun(), _lists([])) as api:
        _run(api, tmp_path, profile=_profile(tmp_path, *([] if timed else [UNTIMED])), clock=LinkedClock())
        asked = len(api.at(TRIGGER)), len(api.at(STATUS))
    assert asked == (1, 1 if timed else 2)
