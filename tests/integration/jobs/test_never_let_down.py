"""What real servers answer: outages, pages of proxies, odd values, other people. Judged by what the API was asked."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runner.jobs import journal
from runner.state.ledger import Entry
from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.integration.jobs.test_jobs import MakeCommandLine
from tests.integration.outputs.conftest import until
from tests.support.clock import LinkedClock
from tests.support.command_line import CommandLine
from tests.support.in_process import run_here
from tests.support.ledgers import open_ledger
from tests.support.ports import free_port
from tests.support.scripted_api import Answers, Asked, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

PAGE = (("Content-Type", "text/html"),)
STATUS, TRIGGER, CANCEL = "/api/sync/cli/status", "/api/sync/cli/trigger", "/api/sync/cli/cancel"


def _page(status: int, *headers: tuple[str, str]) -> Answers:
    return Answers(None, status, (*PAGE, *headers), b"<html><body>Checking your browser</body></html>")


def _entry(api: ScriptedApi, state: Path) -> list[Entry]:
    ledger = open_ledger(state)
    found = ledger.recent(10)
    ledger.close()
    return found


@pytest.mark.parametrize(
    "strange",
    [
        *(_page(status) for status in (200, 403, 404, 502)),
        _page(302, ("Location", "https://sso.example/login")),
        *(Answers({"error": "edge"}, status) for status in (500, 501, 507, 520, 521, 524, 530, 599)),
        Answers(None, 204),
        Answers({"error": "not yet"}, 404),
        Answers({"error": "slow down"}, 429, (("Retry-After", "1"),)),
        Answers({"error": "odd"}, 418),
    ],
)
def test_a_stray_answer_does_not_end_a_poll(tmp_path: Path, strange: Answers) -> None:
    with _api(_begun(), [_shown("running"), strange, strange, _shown("running"), _shown("completed")]) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (0, ["completed"]), told.errors
    assert len(api.at(TRIGGER)) == 1


def test_an_outage_ends_a_poll_only_after_the_patience_and_says_that_the_job_may_go_on(tmp_path: Path) -> None:
    clock = LinkedClock()
    with _api(_begun(), [_shown("running"), Answers({"error": "down"}, 500)]) as api:
        told = _run(api, tmp_path, clock=clock, poll={"patience": 600.0})
    assert (told.code, told.outcomes) == (7, ["unreachable"])
    assert "job job-1 may continue at the API" in told.errors
    assert sum(clock.slept) >= 590
    assert len(told.named("sync.poll_failed")) == 1
    assert len(api.at(STATUS)) < 90


def test_an_outage_over_two_runs_starts_no_second_job_in_the_third(tmp_path: Path) -> None:
    state, broken = tmp_path / "state", threading.Event()

    def status(_asked: Asked) -> Answers:
        return Answers({"error": "down"}, 500) if broken.is_set() else _shown("running")

    with _api(_begun(), status) as api:
        first = _run(api, tmp_path, state=state, clock=LinkedClock(), deadline={"sync": 30.0}, poll={"max": 2.0})
        assert first.code == 6
        broken.set()
        second = _run(api, tmp_path, state=state)
        assert (second.code, second.outcomes) == (8, ["unknown"])
        assert "look for it at the API before you run the sync again; nothing was triggered" in second.errors
        broken.clear()
        api.routes["GET " + STATUS] = _shown("completed")
        api.routes["POST " + TRIGGER] = _begun("job-2")
        ended = _entry(api, state)
        assert [(one.shown_id, one.outcome) for one in ended] == [("job-1", None)]
    assert len(api.at(TRIGGER)) == 1


@pytest.mark.parametrize("word", ["restarting", 7, None])
def test_a_job_whose_status_cannot_be_read_is_not_gone(tmp_path: Path, word: Any) -> None:
    state = tmp_path / "state"
    odd = Answers({"jobs": [{"job_id": "job-1", "sync_type": "health", "status": word}]})
    with _api(_begun(), [_shown("running"), odd]) as api:
        codes = [_run(api, tmp_path, state=state).code for _ in range(3)]
    assert codes == [9, 9, 9]
    assert len(api.at(TRIGGER)) == 1


@pytest.mark.parametrize(
    "odd", [_shown("completed", job="job-9"), Answers({"jobs": "none"}), Answers({"error": "pay"}, 402)]
)
def test_while_an_answer_says_nothing_of_the_job_no_run_starts_another(tmp_path: Path, odd: Answers) -> None:
    state = tmp_path / "state"
    with _api(_begun(), odd) as api:
        codes = [
            _run(api, tmp_path, state=state, clock=LinkedClock(), poll={"patience": 2.0}).code for _number in range(3)
        ]
        assert set(codes) <= {7, 8, 9}
        assert len(api.at(TRIGGER)) == 1
        api.routes["GET " + STATUS] = _shown("completed")
        _run(api, tmp_path, state=state)
    assert [entry.outcome for entry in _entry(api, state)] == ["completed", "completed"]


def test_a_job_that_the_api_does_not_know_for_a_while_is_gone(tmp_path: Path) -> None:
    clock, missing = LinkedClock(), Answers({"error": "no such job"}, 404)
    with _api(_begun(), [_shown("running"), missing]) as api:
        told = _run(api, tmp_path, clock=clock, state=tmp_path / "state", poll={"patience": 600.0})
        assert _entry(api, tmp_path / "state")[0].outcome is not None
    assert (told.code, told.outcomes) == (9, ["contract"])
    assert "does not know job job-1 (404: no such job)" in told.errors
    assert 8 <= sum(clock.slept) <= 20


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"progress": 100.2}, {"progress": 100.0}),
        ({"progress": -3}, {"progress": 0.0}),
        ({"progress": "45%"}, {"progress": 45.0}),
        ({"total_items": "140", "processed_items": 3.0}, {"total_items": 140, "processed_items": 3}),
        ({"start_time": 1767225600.25}, {"start_time": "2026-01-01T00:00:00.250Z"}),
        ({"start_time": "1767225600250"}, {"start_time": "2026-01-01T00:00:00.250Z"}),
        ({"end_time": 1767225600250000}, {"end_time": "2026-01-01T00:00:00.250Z"}),
        ({"start_time": 0, "end_time": ""}, {"start_time": None, "end_time": None}),
    ],
)
def test_what_only_informs_is_normalised(tmp_path: Path, told: dict[str, Any], shown: dict[str, Any]) -> None:
    done = Answers({"jobs": [{"job_id": "job-1", "sync_type": "health", "status": "completed", **told}]})
    with _api(_begun(), done) as api:
        ended = _run(api, tmp_path)
    assert ended.code == 0
    job = ended.result.results[0].job
    assert {name: getattr(job, name) for name in shown} == shown
    assert ended.named("sync.field_unreadable") == []


@pytest.mark.parametrize(
    "odd",
    [{"progress": "most"}, {"progress": True}, {"total_items": -1}, {"total_items": 1.5}, {"start_time": [1]},
     {"start_time": 12}, {"error_message": {"a": 1}}, {"user_id": [1]}, {"sync_type": {"name": "health"}}],
)  # fmt: skip
def test_what_only_informs_never_decides(tmp_path: Path, odd: dict[str, Any]) -> None:
    job = {"job_id": "job-1", "sync_type": "health", "status": "running", **odd}
    with _api(_begun(), [Answers({"jobs": [job]}), Answers({"jobs": [job]}), _shown("completed")]) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (0, ["completed"]), told.errors
    assert [event.field for event in told.named("sync.field_unreadable")] == list(odd)


def test_an_odd_entry_of_a_listing_says_nothing_of_the_others(tmp_path: Path) -> None:
    odd = [{"job_id": None}, {"job_id": "a", "status": "paused"}, "text", {"job_id": "b", "status": 7}]

    def status(asked: Asked) -> Answers:
        job = {"job_id": "job-9", "sync_type": "health", "status": "completed"}
        listed = [*odd, {**job, "status": "running"}]
        return Answers({"jobs": [job] if "job_id" in asked.query else listed})

    refused = Answers({"error": "a sync is running"}, 409)
    with _api(refused, status) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.result.results[0].adopted) == (0, True), told.errors


def test_a_job_cancelled_by_others_is_told_as_that(tmp_path: Path) -> None:
    with _api(_begun(), [_shown("running"), _shown("cancelled")]) as api:
        told = _run(api, tmp_path)
    assert (told.code, told.outcomes) == (4, ["cancelled"])
    assert told.errors == "cancelled at the API, not by this run"


def test_a_second_run_leaves_the_job_that_the_first_polls(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    first = cli.start("run", "health")
    job = cli.until("running")
    second = run_here(cli.server.base_url, cli.secrets, "health", state=cli.state, interrupt=signal.SIGTERM)
    assert (second.code, second.result.results[0].adopted) == (143, True)
    assert f"job {job['job_id']} continues at the API: this run did not start it" in second.errors
    assert [one["status"] for one in cli.jobs()] == ["running"]
    first.signal(signal.SIGTERM)
    assert first.finish().code == 143
    assert [one["status"] for one in cli.jobs()] == ["cancelled"]


def test_a_run_leaves_its_job_to_another_that_polls_it_and_takes_it_over(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    first = cli.start("run", "health")
    job = cli.until("running")
    second = cli.start("run", "health")
    until(lambda: watched(cli) or None, "the second run's polls")
    first.signal(signal.SIGTERM)
    left = first.finish()
    assert left.code == 143
    assert f"job {job['job_id']} continues at the API: another run polls it" in left.stderr
    assert [one["status"] for one in cli.jobs()] == ["running"]
    until(lambda: not watched(cli) or None, "the second run's lease")  # it has the lease
    second.signal(signal.SIGTERM)
    assert second.finish().code == 143
    assert [one["status"] for one in cli.jobs()] == ["cancelled"]


def watched(cli: CommandLine) -> bool:
    """Whether a job of an account is polled by another run than the one that holds it."""
    ledger = open_ledger(cli.state)
    try:
        return ledger.watched(ledger.recent(1)[0].key, time.time())
    finally:
        ledger.close()


def test_a_run_cancels_the_job_of_one_whose_lease_ran_out(
    cli_with: MakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    first = cli.start("run", "health")
    cli.until("running")
    first.signal(signal.SIGKILL)
    first.finish()
    ledger = open_ledger(cli.state)
    ledger._db.execute("UPDATE syncs SET lease_until=?", (time.time() - 1,))
    ledger.close()
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.01)
    second = run_here(cli.server.base_url, cli.secrets, "health", state=cli.state, interrupt=signal.SIGTERM)
    assert second.code == 143
    assert "was cancelled" in second.errors
    assert [one["status"] for one in cli.jobs()] == ["cancelled"]


@pytest.mark.parametrize(
    ("left", "code"),
    [({"deadline": {"sync": 60.0}}, 6), ({"interrupt": signal.SIGTERM, "on_interrupt": "detach"}, 143)],
)
def test_a_job_that_a_run_left_going_on_is_the_next_runs_at_once(
    cli_with: MakeCommandLine, left: dict[str, Any], code: int
) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    if code == 6:
        cli.fault(kind="status", status=418, endpoint="cancel", times=1)
    clock = LinkedClock(cli.server)
    first = run_here(cli.server.base_url, cli.secrets, "health", state=cli.state, clock=clock, **left)
    assert (first.code, [one["status"] for one in cli.jobs()]) == (code, ["running"])
    deadline = {"sync": 60.0}
    second = run_here(cli.server.base_url, cli.secrets, "health", state=cli.state, clock=clock, deadline=deadline)
    assert (second.code, second.result.results[0].adopted) == (6, True)
    assert "was cancelled" in second.errors
    assert [one["status"] for one in cli.jobs()] == ["cancelled"]


def test_somebody_elses_job_is_left_alone(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    other = cli.start("run", "health", "--state-dir", str(cli.home / "other"))
    cli.until("running")
    told = run_here(cli.server.base_url, cli.secrets, "health", deadline={"sync": 1.0})
    assert told.code == 6
    assert "this run did not start it" in told.errors
    assert [one["status"] for one in cli.jobs()] == ["running"]
    other.signal(signal.SIGTERM)
    other.finish()


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_job_that_ended_since_the_last_poll_is_never_cancelled(tmp_path: Path, end: str) -> None:
    """The API would rewrite its end: the look before the cancel is what tells."""
    looks: list[str] = []

    def status(_asked: Asked) -> Answers:
        looks.append("")
        return _shown("running") if len(looks) == 1 else _shown(end)

    with _api(_begun(), status) as api:
        api.routes["POST " + CANCEL] = _shown("cancelled")
        told = _run(api, tmp_path, clock=LinkedClock(), poll={"min": 20.0, "max": 20.0}, deadline={"sync": 30.0})
    assert told.outcomes == [end]
    assert "had already ended" in told.errors
    assert api.at(CANCEL) == []


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [(404, "DAG nightly not found", 2), (400, "limit: below 1", 2), (422, "a bare date", 2), (403, "Forbidden", 3)],
)
def test_a_fault_of_the_request_is_told_in_the_apis_words(tmp_path: Path, status: int, words: str, code: int) -> None:
    with _api(Answers({"error": words}, status), _shown("running")) as api:
        told = _run(api, tmp_path, "health,workouts")
    assert told.code == code
    assert words in told.errors
    assert len(api.at(TRIGGER)) == 2  # the account's other sync is tried
    assert len(api.at("/api/auth/cli/login")) == 1


def test_a_refused_second_start_tells_the_conflicts_own_words(tmp_path: Path) -> None:
    refused = Answers({"error": "a run for 2026-01-01 exists", "job_id": "old"}, 409)
    with _api(refused, _shown("completed", job="old")) as api:
        told = _run(api, tmp_path)
    assert told.code == 9
    assert "(a run for 2026-01-01 exists), but job old, which it names, does not" in told.errors


def test_a_long_retry_after_neither_cancels_a_job_nor_stops_the_polls(tmp_path: Path) -> None:
    clock, late = LinkedClock(), (("Retry-After", "3600"),)
    answers = [_shown("running", headers=late), Answers({}, 503, late), _shown("running"), _shown("completed")]
    with _api(_begun(), answers) as api:
        told = _run(api, tmp_path, clock=clock, poll={"max": 30.0, "patience": 600.0}, deadline={"sync": 900.0})
        assert api.at(CANCEL) == []
    assert told.code == 0
    assert max(clock.slept) <= 31


def test_a_server_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    api = _api(_begun(), _shown("completed"))
    timer = threading.Timer(1.0, api.serve, (port,))
    timer.start()
    api_url = f"http://127.0.0.1:{port}"
    (tmp_path / "secrets").mkdir()
    for name, value in (("username", "u"), ("password", "a pass word")):
        (tmp_path / "secrets" / name).write_text(value)
    told = run_here(
        api_url, tmp_path / "secrets", "health", retry={"connect_patience": 30.0, "attempts": 1, "wait": 0.2}
    )
    timer.join()
    api.__exit__()
    assert told.code == 0, told.errors
    assert len([event for event in told.named("http.retry") if event.reason == "connect"]) == 1


def test_dates_that_leave_nothing_to_do_are_a_success_that_says_so(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    syncs = [{"type": "health", "start": "today", "end": "yesterday"}, {"type": "workouts"}]
    told = run_here(cli.server.base_url, cli.secrets, syncs)
    assert (told.code, told.outcomes) == (0, ["completed", "completed"])
    assert told.named("sync.ended")[0].note.startswith("nothing to do: start (")
    assert [job["sync_type"] for job in cli.jobs()] == ["workouts"]


def test_a_sync_whose_dates_cannot_be_fails_alone(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    told = run_here(cli.server.base_url, cli.secrets, [{"type": "health", "start": "lately"}, {"type": "workouts"}])
    assert (told.code, told.outcomes) == (2, ["configuration", "completed"])


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        ({"type": "nosuch"}, "unknown sync type `nosuch` in this profile"),
        ({"type": "health", "params": {"x": 1}}, "syncs.health.params.x: no such parameter in this profile"),
        ({"type": "health", "start": "2026-13-01"}, "syncs.health.start: invalid date `2026-13-01`"),
    ],
)
def test_a_sync_that_the_profile_cannot_say_fails_alone(
    cli_with: MakeCommandLine, sync: dict[str, Any], told: str
) -> None:
    cli = cli_with(mfa="none")
    ended = run_here(cli.server.base_url, cli.secrets, [sync, {"type": "workouts"}])
    assert (ended.code, ended.outcomes) == (2, ["configuration", "completed"])
    assert told in ended.errors
    assert [job["sync_type"] for job in cli.jobs()] == ["workouts"]


def _keyed(cli: CommandLine, key: str | None, **settings: Any) -> Any:
    run: dict[str, Any] = {"run": {"key": key}} if key else {}
    return run_here(cli.server.base_url, cli.secrets, "health,workouts", state=cli.state, **run, **settings)


def test_a_retry_under_one_run_key_repeats_only_what_failed(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="health", times=1)
    assert _keyed(cli, "job-17").outcomes == ["failed", "completed"]
    again = _keyed(cli, "job-17")
    assert (again.code, again.outcomes) == (0, ["completed", "completed"])
    assert "earlier try" in again.named("sync.ended")[-1].note
    assert sorted(job["sync_type"] for job in cli.jobs()) == ["health", "health", "workouts"]
    assert _keyed(cli, "job-18").code == 0
    assert len(cli.jobs()) == 5
    assert _keyed(cli, None).code == 0
    assert len(cli.jobs()) == 7


def test_a_job_that_ended_after_the_first_try_counts_for_the_second(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=1.0)
    assert _keyed(cli, "k", on_interrupt="detach", interrupt=signal.SIGTERM).code == 143
    cli.until("completed")
    again = _keyed(cli, "k")
    assert again.code == 0
    assert sorted(job["sync_type"] for job in cli.jobs()) == ["health", "workouts"]


def test_sighup_cancels_reports_and_ends_as_sigterm_does(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests
    try:
        running = cli.start("run", "health", "--report", "-")
    finally:
        signal.signal(signal.SIGHUP, before)
    cli.until("running")
    running.signal(signal.SIGHUP)
    ended = running.finish()
    assert ended.code == 143
    assert ended.report["exit_code"] == 143
    assert [job["status"] for job in cli.jobs()] == ["cancelled"]


def test_sighup_that_nohup_ignores_is_ignored(cli_with: MakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = cli_with(mfa="none", job_seconds=1.5)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = cli.start("run", "health")
        cli.until("running")
        running.signal(signal.SIGHUP)
        assert running.finish().code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_account_is_one_account_however_its_address_is_written(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    spelled = cli.server.base_url.replace("127.0.0.1", "LocalHost")
    for base_url in (spelled, spelled.lower() + "/", spelled.replace("http", "HTTP")):
        assert run_here(base_url, cli.secrets, "health", state=cli.state).code == 0
    assert sum(one["endpoint"] == "login" for one in cli.record()["requests"]) == 1


def test_cancel_looks_before_it_cancels(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    assert cli.run("run", "health").code == 0
    job = cli.jobs()[0]["job_id"]
    ended = cli.run("cancel", job)
    assert (ended.code, ended.stdout) == (0, f"{job}: completed, already ended; nothing was sent\n")
    assert not any(one["endpoint"] == "cancel" for one in cli.record()["requests"])
    unknown = cli.run("cancel", "no-such-job")
    assert unknown.code == 2
    assert "check the job's id" in unknown.errors
