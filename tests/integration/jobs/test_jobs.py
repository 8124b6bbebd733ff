"""Never twice, never lost: triggers, adoption, watching and cancelling, judged by the server's own record.

Over both forms of the API: with job ids, and with one job at a time and none.
"""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runner import profile as profiles
from runner.errors import UsageError
from runner.external import ExternalText
from runner.jobs.conditions import BUSY_SECONDS
from runner.jobs.journal import SyncJournal
from runner.state.ledger import Entry, Ledger
from tests.support.command_line import CommandLine
from tests.support.in_process import RunOutput, run_here
from tests.support.ledgers import open_ledger

pytestmark = pytest.mark.usefixtures("dispositions_kept")

MakeCommandLine = Callable[..., CommandLine]
WITH_IDS = pytest.mark.parametrize(
    "profile", ["garminsync"]
)  # about keys, ids, listings and cancelling: there are none
SINGLE = pytest.mark.parametrize("profile", ["garminsync-single"])  # what is promised in their place


@pytest.fixture(params=["garminsync", "garminsync-single"])
def profile(request: pytest.FixtureRequest) -> str:
    """Every test runs over both forms, unless it says which."""
    name: str = request.param
    return name


@pytest.fixture
def cli(cli_with: MakeCommandLine) -> CommandLine:
    """A sandbox without a second factor: these tests are about jobs."""
    return cli_with(mfa="none")


def _run(cli: CommandLine, syncs: Any = "health", **settings: Any) -> RunOutput:
    return run_here(cli.server.base_url, cli.secrets, syncs, **{"profile": cli.profile, **settings})


def _spelling(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The built-in profile with some of its text changed, as a file of the user's."""
    text = profiles.locate("garminsync").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return str(path)


NO_KEY = ("    idempotent: true\n", "")
NO_HEADER = ('      headers: {Idempotency-Key: "${idempotency_key}"}\n', "")
NO_CONFLICT_ID = ("    conflict_job_id: job_id\n", "")
NO_LISTING = (
    "  running:\n    request: {path: /api/sync/cli/status, query: {limit: 100}}\n    jobs: jobs\n",
    "",
)


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_trigger_answer_never_starts_a_second_job(cli: CommandLine, kind: str, times: int) -> None:
    cli.fault(kind=kind, endpoint="trigger", times=times)
    told = _run(cli)
    assert told.code == 0
    assert len(cli.jobs()) == 1
    seen_at_once = cli.profile == "garminsync-single" and kind == "reset_after"
    assert len(told.named("sync.trigger_doubt")) == (1 if seen_at_once else times)


@WITH_IDS
def test_a_trigger_lost_three_times_is_found_in_the_listing(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=3.0)
    cli.fault(kind="reset_after", endpoint="trigger", times=3)
    told = _run(cli)
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(cli.jobs()) == 1


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_ambiguous_status_is_doubt_and_not_failure(cli: CommandLine, status: int) -> None:
    cli.fault(kind="status", status=status, endpoint="trigger")
    assert _run(cli).code == 0
    assert len(cli.jobs()) == 1


@WITH_IDS
def test_without_a_key_a_lost_trigger_is_looked_up(cli_with: MakeCommandLine, tmp_path: Path) -> None:
    cli = cli_with(mfa="none", job_seconds=2.0)
    cli.fault(kind="reset_after", endpoint="trigger")
    told = _run(cli, profile=_spelling(tmp_path, NO_KEY, NO_HEADER))
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(cli.jobs()) == 1


@WITH_IDS
def test_without_a_key_and_with_nothing_running_the_outcome_is_unknown(cli: CommandLine, tmp_path: Path) -> None:
    cli.fault(kind="reset_before", endpoint="trigger")
    told = _run(cli, profile=_spelling(tmp_path, NO_KEY, NO_HEADER))
    assert told.code == 8
    assert cli.jobs() == []


@WITH_IDS
def test_a_running_job_is_adopted_whether_the_conflict_names_it_or_not(
    cli_with: MakeCommandLine, tmp_path: Path
) -> None:
    for number, changes in enumerate(((), (NO_CONFLICT_ID,))):
        cli = cli_with(mfa="none", job_seconds=1.5)
        other = threading.Thread(target=cli.run, args=("run", "health"))
        other.start()
        cli.until("running")
        told = _run(cli, profile=_spelling(tmp_path, *changes))
        other.join()
        assert (told.code, told.result.results[0].adopted) == (0, True), number
        assert len(cli.jobs()) == 1


def test_a_conflict_without_any_job_is_a_contract_error(cli: CommandLine, tmp_path: Path) -> None:
    cli.fault(kind="status", status=409, endpoint="trigger", times=-1)
    told = _run(cli)
    assert told.code == 9
    assert "names and lists none" in told.errors
    triggers = [one for one in cli.record()["requests"] if one["endpoint"] == "trigger"]
    assert len(triggers) == 3  # the job that it speaks of may have ended in between: tried again, and not for ever


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_that_ends_between_the_conflict_and_the_look_is_no_error(cli: CommandLine, times: int) -> None:
    cli.fault(kind="status", status=409, endpoint="trigger", times=times)
    told = _run(cli)
    assert (told.code, told.result.results[0].adopted) == (0, False)
    assert [job["status"] for job in cli.jobs()] == ["completed"]


def test_a_failed_job_is_triggered_again_as_often_as_asked(cli: CommandLine) -> None:
    cli.fault(kind="job_fails", times=2)
    told = _run(cli, retry={"job_attempts": 3})
    assert (told.code, told.result.results[0].attempts) == (0, 3)
    assert [job["status"] for job in cli.jobs()] == ["failed", "failed", "completed"]
    assert len(told.named("sync.retried")) == 2


def _remember(state: Path, cli: CommandLine, key: str, job_id: ExternalText | str | None, age: float = 1.0) -> None:
    ledger = open_ledger(state)
    target = f"{cli.server.base_url} {cli.server.settings.username}"
    ledger.intend(Entry(key, target, "default", "health", "health", "earlier", time.time() - age))
    if job_id:
        ledger.triggered(key, job_id)
    ledger.close()


def test_a_killed_runs_job_is_adopted(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=2.0)
    first = cli.start("run", "health")
    job = cli.until("running")
    first.signal(signal.SIGKILL)
    assert first.finish().code == -9
    told = _run(cli, state=cli.state)
    assert (told.code, told.outcomes) == (0, ["completed"])
    assert [one["job_id"] for one in cli.jobs()] == [job["job_id"]]


@WITH_IDS
def test_a_killed_runs_intent_is_completed_with_its_own_key(cli: CommandLine) -> None:
    _remember(cli.state, cli, "the-key", None)
    assert _run(cli, state=cli.state).code == 0
    assert [job["idempotency_key"] for job in cli.jobs()] == ["the-key"]


@WITH_IDS
def test_a_key_that_the_server_may_have_forgotten_is_not_used_again(cli: CommandLine) -> None:
    _remember(cli.state, cli, "old-key", None, age=7200.0)
    assert _run(cli, state=cli.state).code == 0
    assert [job["idempotency_key"] for job in cli.jobs()] != ["old-key"]


def test_a_job_that_ended_meanwhile_is_written_down_and_a_new_one_started(cli: CommandLine) -> None:
    ended = _run(cli, state=None).result.results[0].job
    assert ended is not None
    _remember(cli.state, cli, "k", ended.job_id)
    assert _run(cli, state=cli.state).code == 0
    assert len(cli.jobs()) == 2
    assert [entry.outcome for entry in open_ledger(cli.state).recent(5)] == ["completed", "completed"]


@WITH_IDS
def test_a_job_that_the_api_forgot_does_not_wedge_later_runs(cli: CommandLine) -> None:
    _remember(cli.state, cli, "k", "no-such-job")
    assert _run(cli, state=cli.state).code == 0
    assert sorted(entry.outcome or "" for entry in open_ledger(cli.state).recent(5)) == ["completed", "unknown"]


@WITH_IDS
def test_last_success_is_the_start_of_the_next_run(cli: CommandLine) -> None:
    syncs = [{"type": "health", "start": "last-success"}]
    assert _run(cli, syncs, state=cli.state).named("sync.started")[0].start_date is None
    second = _run(cli, syncs, state=cli.state).named("sync.started")[0].start_date
    assert second == time.strftime("%Y-%m-%d", time.gmtime())


def test_a_failed_sync_skips_those_that_come_after_it_and_no_others(cli: CommandLine) -> None:
    cli.fault(kind="job_fails", sync_type="health", times=-1)
    syncs = [{"type": "activities", "after": ["health"]}, {"type": "health"}, {"type": "workouts"}]
    told = _run(cli, syncs)
    assert dict(zip((one.name for one in told.result.results), told.outcomes, strict=True)) == {
        "health": "failed",
        "activities": "skipped",
        "workouts": "completed",
    }
    assert "`health`, which it comes after, did not complete" in told.errors


def test_on_failure_stop_skips_the_rest(cli: CommandLine) -> None:
    cli.fault(kind="job_fails", sync_type="health", times=-1)
    told = _run(cli, "health,workouts", on_failure="stop")
    assert told.outcomes == ["failed", "skipped"]


@WITH_IDS
def test_syncs_run_at_once_where_that_is_set(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=1.0)
    assert _run(cli, "activities,health,workouts", concurrency=3).code == 0
    starts = sorted(job["start_time"] for job in cli.jobs())
    ends = sorted(job["end_time"] for job in cli.jobs())
    assert starts[-1] < ends[0]


def test_the_first_look_waits_for_the_job_however_long_the_login_took(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=0.8)
    cli.fault(kind="latency", endpoint="login", seconds=0.5)
    assert _run(cli, poll={"min": 0.4}).code == 0
    asked = [(one["at"], one["endpoint"]) for one in cli.record()["requests"]]
    triggered = next(at for at, endpoint in asked if endpoint == "trigger")
    assert min(at for at, endpoint in asked if endpoint == "status" and at > triggered) - triggered >= 0.3


def test_a_stalled_job_is_reported_once(cli: CommandLine) -> None:
    cli.fault(kind="job_stalls")
    told = _run(cli, poll={"stall": 0.1, "max": 0.05}, deadline={"sync": 4.0})
    assert told.code == 6
    assert len(told.named("sync.stalled")) == 1


def test_a_token_that_expires_in_mid_job_is_renewed_and_the_job_watched_on(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=1.0)
    cli.fault(kind="expire_tokens", endpoint="status", skip=1)
    told = _run(cli)
    assert told.code == 0
    assert len(cli.jobs()) == 1
    assert [event.method for event in told.named("session.started")] == ["login", "refresh"]


def test_a_token_that_is_refused_again_and_again_ends_the_sync(cli: CommandLine) -> None:
    cli.fault(kind="expire_tokens", endpoint="status", times=-1)
    told = _run(cli)
    assert told.code == 3
    assert "refuses a token that it just issued" in told.errors


@pytest.mark.parametrize("endpoint", ["trigger", "status"])
def test_an_unexpected_answer_is_a_contract_error_that_says_what_came(cli: CommandLine, endpoint: str) -> None:
    cli.fault(kind="status", status=418, endpoint=endpoint, times=-1)
    told = _run(cli)
    assert told.code == 9
    assert f"{endpoint}: the API answered 418: a fault was asked for" in told.errors


def test_a_job_that_vanishes_is_a_contract_error(cli: CommandLine) -> None:
    cli.fault(kind="status", status=404, endpoint="status", times=-1)
    told = _run(cli)
    assert told.code == 9
    assert "does not know job" in told.errors


@WITH_IDS
def test_an_unknown_status_word_is_told_with_those_that_are_known(cli: CommandLine, tmp_path: Path) -> None:
    words = "  words: {pending: [new], running: [busy], completed: [good], failed: [bad], cancelled: [gone]}\n"
    told = _run(cli, profile=_spelling(tmp_path, ("jobs:\n  sync_types", f"jobs:\n{words}  sync_types")))
    assert told.code == 9
    assert "unknown job status" in told.errors
    assert "the profile knows: new, busy, good, bad, gone" in told.errors


class _SignalWhen(threading.Thread):
    """Sends this process a signal when the server has a job in that state."""

    def __init__(self, cli: CommandLine, number: signal.Signals, status: str = "running") -> None:
        super().__init__(daemon=True)
        self._cli, self._number, self._status = cli, number, status
        self.start()

    def run(self) -> None:
        self._cli.until(self._status)
        os.kill(os.getpid(), self._number)


@WITH_IDS
def test_a_signal_cancels_every_running_job_and_starts_no_more(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    _SignalWhen(cli, signal.SIGTERM)
    told = _run(cli, "activities,health,workouts", concurrency=2)
    assert told.code == 143
    assert set(told.outcomes) == {"interrupted"}
    assert {job["status"] for job in cli.jobs()} == {"cancelled"}
    assert len(cli.jobs()) <= 2


@WITH_IDS
def test_a_job_that_can_not_be_cancelled_is_told_and_stays_open_for_the_next_run(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    cli.fault(kind="status", status=418, endpoint="cancel", times=-1)
    _SignalWhen(cli, signal.SIGINT)
    told = _run(cli, state=cli.state)
    assert told.code == 130
    assert "could not be cancelled (cancel: the API answered 418" in told.errors
    assert open_ledger(cli.state).recent(1)[0].outcome is None


def test_detach_leaves_the_job_to_the_next_run(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    _SignalWhen(cli, signal.SIGTERM)
    told = _run(cli, state=cli.state, on_interrupt="detach")
    assert "continues at the API, and the next run adopts it" in told.errors
    assert [job["status"] for job in cli.jobs()] == ["running"]


@WITH_IDS
def test_a_signal_while_the_trigger_is_under_way_still_cancels_its_job(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    cli.fault(kind="drip", endpoint="trigger", seconds=0.01)  # the job runs before its answer is there
    _SignalWhen(cli, signal.SIGTERM)
    told = _run(cli)
    assert told.code == 143
    assert [job["status"] for job in cli.jobs()] == ["cancelled"]


def test_a_signal_before_the_first_step_of_a_sync_triggers_nothing(
    cli_with: MakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python never runs a task that is cancelled before its first step, so nothing within it could tell of that."""
    cli = cli_with(mfa="none")
    begin = asyncio.create_task

    def interrupted(work: Any, **options: Any) -> Any:
        made = begin(work, **options)
        if work.__qualname__ in ("Drive.course", "execute"):
            os.kill(os.getpid(), signal.SIGTERM)
            made.cancel()
        return made

    monkeypatch.setattr(asyncio, "create_task", interrupted)
    told = _run(cli, "activities,health")
    assert (told.code, told.outcomes) == (143, ["interrupted", "interrupted"])
    assert cli.jobs() == []


@WITH_IDS
def test_a_signal_while_the_end_of_a_sync_is_written_down_does_not_undo_it(
    cli_with: MakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = cli_with(mfa="none")
    end = SyncJournal.end

    async def interrupted(self: SyncJournal, *values: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.1)  # the signal is obeyed
        await end(self, *values)

    monkeypatch.setattr(SyncJournal, "end", interrupted)
    told = _run(cli, "activities,health", state=cli.state)
    assert told.outcomes == ["completed", "interrupted"]
    assert open_ledger(cli.state).recent(2)[0].outcome == "completed"


def test_a_ledger_that_can_not_be_written_stops_the_run_before_anything_is_triggered(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Ledger._open

    def full(self: Ledger, patience: float) -> None:
        opened(self, patience)
        self._db.execute("PRAGMA query_only=1")

    monkeypatch.setattr(Ledger, "_open", full)
    told = _run(cli, state=cli.state)
    assert told.code == 2
    assert "check space and permissions of state.dir" in told.errors
    assert cli.jobs() == []


@SINGLE
def test_single_a_trigger_lost_three_times_is_found_in_the_status(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=3.0)
    cli.fault(kind="reset_after", endpoint="trigger", times=3)
    told = _run(cli)
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(cli.jobs()) == 1


@SINGLE
def test_single_a_lost_trigger_that_the_status_can_not_tell_from_the_last_job_is_unknown(cli: CommandLine) -> None:
    assert _run(cli).code == 0
    cli.fault(kind="reset_after", endpoint="trigger")
    told = _run(cli)
    assert told.code == 8
    assert "look at the API for a job of type health" in told.errors
    assert len(cli.jobs()) == 2


@SINGLE
def test_single_a_lost_trigger_whose_job_ended_otherwise_than_the_last_is_known(cli: CommandLine) -> None:
    assert _run(cli).code == 0
    cli.fault(kind="reset_after", endpoint="trigger")
    cli.fault(kind="job_fails")
    told = _run(cli)
    assert told.code == 4
    assert len(cli.jobs()) == 2


@SINGLE
def test_single_a_running_job_of_the_type_is_adopted_and_one_of_another_waited_for(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=2.0)
    other = threading.Thread(target=cli.run, args=("run", "health"))
    other.start()
    cli.until("running")
    told = _run(cli, "health,workouts", concurrency=2)
    other.join()
    assert told.code == 0
    assert {one.name: one.adopted for one in told.result.results} == {"health": True, "workouts": False}
    assert sorted(job["sync_type"] for job in cli.jobs()) == ["health", "workouts"]


@SINGLE
def test_single_the_end_of_a_job_that_was_waited_for_is_left_to_be_seen(cli_with: MakeCommandLine) -> None:
    """The status shows one job alone: who watches the first must find its end there."""
    cli = cli_with(mfa="none", job_seconds=1.5)
    ended: list[int] = []
    other = threading.Thread(
        target=lambda: ended.append(cli.run("run", "health", "--state-dir", str(cli.home / "other")).code)
    )
    other.start()
    cli.until("running")
    told = _run(cli, "workouts")
    other.join()
    assert (told.code, ended) == (0, [0])
    first, second = sorted(cli.jobs(), key=lambda job: str(job["start_time"]))
    remaining = datetime.fromisoformat(second["start_time"]) - datetime.fromisoformat(first["end_time"])
    assert remaining.total_seconds() >= BUSY_SECONDS - 0.01  # times are written to the millisecond


@SINGLE
def test_single_a_trigger_that_came_second_waits_for_the_first(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=3.0)
    cli.fault(kind="latency", endpoint="trigger", seconds=3.0, times=1)

    def overtake() -> None:
        while not any(one["endpoint"] == "trigger" for one in cli.record()["requests"]):
            time.sleep(0.02)
        assert cli.run("run", "activities", "--state-dir", str(cli.home / "other")).code == 0

    other = threading.Thread(target=overtake)
    other.start()
    told = _run(cli)
    other.join()
    assert (told.code, told.result.results[0].adopted) == (0, False)
    assert sorted((job["sync_type"], job["status"]) for job in cli.jobs()) == [
        ("activities", "completed"),
        ("health", "completed"),
    ]


@SINGLE
@pytest.mark.parametrize("age", [1.0, 7200.0])
def test_single_a_killed_runs_intent_is_taken_up_where_its_job_runs(cli_with: MakeCommandLine, age: float) -> None:
    cli = cli_with(mfa="none", job_seconds=2.0)
    other = threading.Thread(target=cli.run, args=("run", "health", "--state-dir", str(cli.home / "other")))
    other.start()
    cli.until("running")
    _remember(cli.state, cli, "the-key", None, age=age)
    told = _run(cli, state=cli.state)
    other.join()
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(cli.jobs()) == 1


@SINGLE
def test_single_syncs_go_one_after_the_other_whatever_is_set(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=0.5)
    # Between two polls, another sync would have time to start a job before the end of the first is seen.
    told = _run(cli, "activities,health,workouts", concurrency=3, poll={"min": 4.0, "max": 4.0})
    assert told.code == 0
    spans = sorted((job["start_time"], job["end_time"]) for job in cli.jobs())
    assert len(spans) == 3
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@SINGLE
def test_single_dates_can_not_be_asked_for(cli: CommandLine) -> None:
    with pytest.raises(UsageError, match=r"syncs\.health\.start: this profile does not support it"):
        _run(cli, [{"type": "health", "start": "last-success"}])
    with pytest.raises(UsageError, match=r"syncs\.health\.force_full: this profile does not support it"):
        _run(cli, [{"type": "health", "force_full": True}])


@SINGLE
@pytest.mark.parametrize("fault", [{}, {"kind": "drip", "endpoint": "trigger", "seconds": 0.01}])
def test_single_a_signal_leaves_the_job_to_the_next_run(cli_with: MakeCommandLine, fault: dict[str, Any]) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    if fault:
        cli.fault(**fault)
    _SignalWhen(cli, signal.SIGTERM)
    told = _run(cli, "health,workouts", state=cli.state, concurrency=2)
    assert told.code == 143
    assert "could not be cancelled (cancel: this profile has no cancel request)" in told.errors
    assert [job["status"] for job in cli.jobs()] == ["running"]
    assert [entry.outcome for entry in open_ledger(cli.state).recent(5) if entry.job_id] == [None]
