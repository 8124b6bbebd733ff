"""What an API may not say of its jobs, and what it may ask for: over a real socket, judged by what it was asked."""

import itertools
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.sandbox.command import write_secrets
from tests.integration.jobs.test_jobs import MakeCommandLine
from tests.support.clock import LinkedClock
from tests.support.command_line import CommandLine
from tests.support.in_process import RunOutput, run_here
from tests.support.ledgers import open_ledger
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

LOGIN = Answers({"success": True, "access_token": "t", "token_type": "bearer", "expires_in": 900})


def _shown(status: str, *, headers: tuple[tuple[str, str], ...] = (), job: str = "job-1") -> Answers:
    return Answers({"success": True, "jobs": [{"job_id": job, "sync_type": "health", "status": status}]}, 200, headers)


def _begun(job: str = "job-1") -> Answers:
    return Answers({"success": True, "job_id": job, "status": "pending"})


def _api(trigger: Route, status: Route) -> ScriptedApi:
    return ScriptedApi(
        {
            "POST /api/auth/cli/login": LOGIN,
            "POST /api/sync/cli/trigger": trigger,
            "GET /api/sync/cli/status": status,
        }
    )


def _run(api: ScriptedApi, home: Path, syncs: Any = "health", **settings: Any) -> RunOutput:
    write_secrets(home / "secrets", {"username": "u", "password": "a pass word"})
    return run_here(api.base_url, home / "secrets", syncs, **settings)


def test_a_job_that_is_put_back_into_its_queue_is_polled_on_and_shown_as_running(tmp_path: Path) -> None:
    shown = [_shown(word) for word in ("running", "pending", "pending", "running", "pending", "completed")]
    with _api(_begun(), shown) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (0, ["completed"])
    assert [event.job_id for event in told.named("sync.requeued")] == ["job-1", "job-1"]
    states = [event.status for event in told.named("sync.progress")]
    assert states == ["running"] * 5 + ["completed"]


def test_an_answer_about_another_job_is_not_believed(tmp_path: Path) -> None:
    with _api(_begun(), [_shown("running"), _shown("completed", job="job-2")]) as api:
        told = _run(api, tmp_path)
    assert told.code == 9
    assert "requested job job-1, the API answered with job job-2" in told.errors


@pytest.mark.parametrize(
    "again",
    [
        _begun(),
        Answers({"success": False, "error": "it runs", "job_id": "job-1"}, 409),
    ],
)
def test_a_job_that_leaves_its_end_is_not_believed(tmp_path: Path, again: Answers) -> None:
    statuses = [_shown("running"), _shown("failed"), _shown("running"), _shown("completed")]
    with _api([_begun(), again], statuses) as api:
        told = _run(api, tmp_path, retry={"job_attempts": 2})
    assert (told.code, told.outcomes) == (9, ["contract"])
    assert "job job-1 went from failed to" in told.errors
    assert len(api.at("/api/sync/cli/trigger")) == 2


def test_a_job_that_had_ended_is_not_given_as_a_new_one(tmp_path: Path) -> None:
    refused = Answers({"success": False, "error": "it runs", "job_id": "job-1"}, 409)
    with _api([_begun(), refused], _shown("failed")) as api:
        told = _run(api, tmp_path, retry={"job_attempts": 2})
    assert told.code == 9
    assert "the API returned job job-1 as new, but it had already ended" in told.errors


def test_a_lost_triggers_job_that_ended_before_the_conflict_is_found_in_the_listing(tmp_path: Path) -> None:
    """The first answer is none; its repeat is refused for a job that has ended when the listing is asked for."""
    began = datetime.now(UTC).isoformat()
    ended = {"job_id": "job-1", "sync_type": "health", "status": "completed", "start_time": began}
    lost, refused = (
        Answers({"success": False, "error": "lost"}, 502),
        Answers({"success": False, "error": "it runs"}, 409),
    )
    with _api([lost, refused], Answers({"success": True, "jobs": [ended]})) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (0, ["completed"])
    assert len({one.headers["Idempotency-Key"] for one in api.at("/api/sync/cli/trigger")}) == 1


def test_a_status_that_says_when_to_look_again_is_obeyed(tmp_path: Path) -> None:
    clock, polls_per_second = LinkedClock(), list[float]()
    headers = [(("Retry-After", "40"),), (("Retry-After", "nonsense"),), ()]

    def status(_asked: Asked) -> Answers:
        polls_per_second.append(clock.monotonic())
        return _shown("running", headers=headers.pop(0)) if headers else _shown("completed")

    with _api(_begun(), status) as api:
        told = _run(api, tmp_path, clock=clock)
    assert told.code == 0
    pauses = [after - before for before, after in itertools.pairwise(polls_per_second)]
    assert pauses[0] >= 40
    assert max(pauses[1:]) < 10


def test_an_api_that_is_down_is_not_asked_for_the_next_account(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="status", status=503, endpoint="login", times=-1)
    accounts = [{"name": name, "secrets_dir": str(cli.secrets)} for name in ("first", "second")]
    told = run_here(
        cli.server.base_url, cli.secrets, "health", accounts=accounts, limits={"accounts": 1}, retry={"budget": 2}
    )
    assert (told.code, told.outcomes) == (7, ["unreachable", "skipped"])
    assert "not started: the API is down (the run's retry budget is exhausted)" in told.errors
    assert [one["endpoint"] for one in cli.record()["requests"]] == ["login"] * 3


def test_the_job_of_another_that_was_watched_is_no_success_of_ones_own(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=1.5)
    other = threading.Thread(target=cli.run, args=("run", "health", "--state-dir", str(cli.home / "other")))
    other.start()
    cli.until("running")
    told = _last_success(cli)
    other.join()
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(cli.jobs()) == 1
    ledger = open_ledger(cli.state)
    target = f"{cli.server.base_url} {cli.server.settings.username}"
    assert ledger.recent(1)[0].outcome == "completed"
    assert ledger.last_success(target, "health") is None
    ledger.close()
    assert _last_success(cli).named("sync.started")[0].start_date is None


def _last_success(cli: CommandLine) -> RunOutput:
    """A run that goes on where the last success of its own ended."""
    return run_here(cli.server.base_url, cli.secrets, [{"type": "health", "start": "last-success"}], state=cli.state)
