"""What an API may not say of its jobs, and what it may ask for: over a real socket, judged by what it was asked."""

import itertools
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.ledger import Ledger
from runner.sandbox.command import write_secrets
from tests.command_line import Desk
from tests.in_process import Told, run_here
from tests.integration.test_jobs import MakeDesk
from tests.linked_clock import LinkedClock
from tests.scripted_api import Asked, Route, Says, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

LOGIN = Says({"success": True, "access_token": "t", "token_type": "bearer", "expires_in": 900})


def _shown(status: str, *, headers: tuple[tuple[str, str], ...] = (), job: str = "job-1") -> Says:
    return Says({"success": True, "jobs": [{"job_id": job, "sync_type": "health", "status": status}]}, 200, headers)


def _begun(job: str = "job-1") -> Says:
    return Says({"success": True, "job_id": job, "status": "pending"})


def _api(trigger: Route, status: Route) -> ScriptedApi:
    return ScriptedApi(
        {
            "POST /api/auth/cli/login": LOGIN,
            "POST /api/sync/cli/trigger": trigger,
            "GET /api/sync/cli/status": status,
        }
    )


def _run(api: ScriptedApi, home: Path, syncs: Any = "health", **settings: Any) -> Told:
    write_secrets(home / "secrets", {"username": "u", "password": "a pass word"})
    return run_here(api.base_url, home / "secrets", syncs, **settings)


def test_a_job_that_goes_back_is_not_believed(tmp_path: Path) -> None:
    with _api(_begun(), [_shown("running"), _shown("pending"), _shown("completed")]) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (9, ["contract"])
    assert "job job-1 went from running to pending, which no job does; not believed" in told.errors


def test_an_answer_about_another_job_is_not_believed(tmp_path: Path) -> None:
    with _api(_begun(), [_shown("running"), _shown("completed", job="job-2")]) as api:
        told = _run(api, tmp_path)
    assert told.code == 9
    assert "asked for job job-1, the API answered with job job-2" in told.errors


@pytest.mark.parametrize(
    "again",
    [
        _begun(),
        Says({"success": False, "error": "it runs", "job_id": "job-1"}, 409),
    ],
)
def test_a_job_that_leaves_its_end_is_not_believed(tmp_path: Path, again: Says) -> None:
    statuses = [_shown("running"), _shown("failed"), _shown("running"), _shown("completed")]
    with _api([_begun(), again], statuses) as api:
        told = _run(api, tmp_path, retry={"job_attempts": 2})
    assert (told.code, told.outcomes) == (9, ["contract"])
    assert "job job-1 went from failed to" in told.errors
    assert len(api.at("/api/sync/cli/trigger")) == 2


def test_a_job_that_had_ended_is_not_given_as_a_new_one(tmp_path: Path) -> None:
    refused = Says({"success": False, "error": "it runs", "job_id": "job-1"}, 409)
    with _api([_begun(), refused], _shown("failed")) as api:
        told = _run(api, tmp_path, retry={"job_attempts": 2})
    assert told.code == 9
    assert "the API gave job job-1 as a new one, which had ended before" in told.errors


def test_a_lost_triggers_job_that_ended_before_the_conflict_is_found_in_the_listing(tmp_path: Path) -> None:
    """The first answer is none; its repeat is refused for a job that has ended when the listing is asked for."""
    began = datetime.now(UTC).isoformat()
    ended = {"job_id": "job-1", "sync_type": "health", "status": "completed", "start_time": began}
    lost, refused = Says({"success": False, "error": "lost"}, 502), Says({"success": False, "error": "it runs"}, 409)
    with _api([lost, refused], Says({"success": True, "jobs": [ended]})) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (0, ["completed"])
    assert len(api.at("/api/sync/cli/trigger")) == 2


def test_a_status_that_says_when_to_look_again_is_obeyed(tmp_path: Path) -> None:
    clock, looks = LinkedClock(), list[float]()
    headers = [(("Retry-After", "40"),), (("Retry-After", "nonsense"),), ()]

    def status(_asked: Asked) -> Says:
        looks.append(clock.monotonic())
        return _shown("running", headers=headers.pop(0)) if headers else _shown("completed")

    with _api(_begun(), status) as api:
        told = _run(api, tmp_path, clock=clock)
    assert told.code == 0
    pauses = [after - before for before, after in itertools.pairwise(looks)]
    assert pauses[0] >= 40
    assert max(pauses[1:]) < 10


def test_an_api_that_is_down_is_not_asked_for_the_next_account(desk_with: MakeDesk) -> None:
    desk = desk_with(mfa="none")
    desk.fault(kind="status", status=503, endpoint="login", times=-1)
    accounts = [{"name": name, "secrets_dir": str(desk.secrets)} for name in ("first", "second")]
    told = run_here(
        desk.server.base_url, desk.secrets, "health", accounts=accounts, limits={"accounts": 1}, retry={"budget": 2}
    )
    assert (told.code, told.outcomes) == (7, ["unreachable", "skipped"])
    assert "not started: the API is down (the run's retries are spent)" in told.errors
    assert [one["endpoint"] for one in desk.record()["requests"]] == ["login"] * 3


def test_the_job_of_another_that_was_watched_is_no_success_of_ones_own(desk_with: MakeDesk) -> None:
    desk = desk_with(mfa="none", job_seconds=1.5)
    other = threading.Thread(target=desk.run, args=("run", "health", "--state-dir", str(desk.home / "other")))
    other.start()
    desk.until("running")
    told = _last_success(desk)
    other.join()
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(desk.jobs()) == 1
    ledger = Ledger(desk.state)
    target = f"{desk.server.base_url} {desk.server.settings.username}"
    assert ledger.recent(1)[0].outcome == "completed"
    assert ledger.last_success(target, "health") is None
    ledger.close()
    assert _last_success(desk).named("sync.started")[0].start_date is None


def _last_success(desk: Desk) -> Told:
    """A run that goes on where the last success of its own ended."""
    return run_here(desk.server.base_url, desk.secrets, [{"type": "health", "start": "last-success"}], state=desk.state)
