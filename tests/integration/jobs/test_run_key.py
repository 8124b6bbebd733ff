"""Tries of one run, by `run.key`: what a further try does with each end of the job of the one before."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.support.clock import LinkedClock
from tests.support.in_process import RunOutput
from tests.support.scripted_api import Answers, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

TRIGGER, STATUS = "/api/sync/cli/trigger", "GET /api/sync/cli/status"
OUTAGE = Answers({"error": "away"}, 503)


def _try(api: ScriptedApi, home: Path, key: str | None = "nightly-1", **more: Any) -> RunOutput:
    settings = {"run": {"key": key}} if key else {}
    return _run(api, home, state=home / "state", clock=LinkedClock(), poll={"patience": 1.0}, **settings, **more)


@pytest.mark.parametrize(("meanwhile", "triggers"), [("completed", 1), ("failed", 2), ("cancelled", 2)])
def test_a_job_that_ended_between_two_tries_counts_as_it_ended(tmp_path: Path, meanwhile: str, triggers: int) -> None:
    with _api([_begun(), _begun("job-2")], [_shown("running"), OUTAGE]) as api:
        assert _try(api, tmp_path).code in (7, 8)
        api.routes[STATUS] = [_shown(meanwhile), _shown("completed", job="job-2")]
        told = _try(api, tmp_path)
        assert (told.code, told.outcomes) == (0, ["completed"]), told.errors
        assert len(api.at(TRIGGER)) == triggers


@pytest.mark.parametrize(("key", "triggers"), [("nightly-1", 1), ("nightly-2", 2), (None, 2)])
def test_what_completed_under_a_key_is_repeated_under_another_only(
    tmp_path: Path, key: str | None, triggers: int
) -> None:
    with _api([_begun(), _begun("job-2")], [_shown("completed"), _shown("completed", job="job-2")]) as api:
        assert _try(api, tmp_path).code == 0
        told = _try(api, tmp_path, key)
        assert (told.code, told.outcomes) == (0, ["completed"])
        assert len(api.at(TRIGGER)) == triggers


def test_a_sync_after_one_that_an_earlier_try_completed_is_run(tmp_path: Path) -> None:
    syncs = [{"type": "health"}, {"type": "workouts", "after": ["health"]}]
    refused = Answers({"error": "not now"}, 400)
    with _api([_begun(), refused, _begun("job-2")], [_shown("completed")]) as api:
        assert _try(api, tmp_path, syncs=syncs).code in (2, 5)
        api.routes[STATUS] = Answers({"jobs": [{"job_id": "job-2", "sync_type": "workouts", "status": "completed"}]})
        told = _try(api, tmp_path, syncs=syncs)
        assert (told.code, told.outcomes) == (0, ["completed", "completed"])
        assert [one.json["sync_type"] for one in api.at(TRIGGER)] == ["health", "workouts", "workouts"]
