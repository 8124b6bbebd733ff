"""A part of a run: only what failed, only some accounts; and what a run would do, without doing it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.ledgers import open_ledger

MakeCommandLine = Callable[..., CommandLine]


def _preview(cli: CommandLine, *words: str) -> list[dict[str, Any]]:
    ended = cli.run("run", *words, "--dry-run", "--json")
    assert ended.code == 0, ended.errors
    return list(json.loads(ended.stdout)["syncs"])


def _ran(cli: CommandLine, *words: str) -> list[str]:
    return [sync["name"] for sync in cli.run("run", *words, "--report", "-").report["syncs"]]


def test_only_what_failed_the_last_time_is_run_again(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="workouts")
    assert cli.run("run", "health", "workouts").code == 5
    assert _ran(cli, "health", "workouts", "--only-failed") == ["workouts"]
    assert _ran(cli, "health", "workouts", "--only-failed") == []
    assert sorted(job["sync_type"] for job in cli.jobs()) == ["health", "workouts", "workouts"]


def test_only_what_failed_in_a_report_is_run_again(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="workouts")
    report = cli.home / "before.json"
    before = cli.run("run", "health", "workouts", "--report", "-")
    assert before.code == 5
    report.write_text(before.stdout)
    assert _ran(cli, "health", "workouts", "--failed-in", str(report)) == ["workouts"]


def test_a_sync_after_one_that_completed_is_run(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="workouts")
    syncs = 'syncs=[{"type": "health"}, {"type": "workouts", "after": ["health"]}]'
    assert cli.run("run", "--set", syncs).code == 5
    assert _ran(cli, "--set", syncs, "--only-failed") == ["workouts"]


@pytest.mark.parametrize("content", [None, "no report", "[]", '{"syncs": [1]}'])
def test_a_report_that_is_none_is_refused_before_anything_is_sent(cli: CommandLine, content: str | None) -> None:
    report = cli.home / "before.json"
    if content is not None:
        report.write_text(content)
    ended = cli.run("run", "health", "--failed-in", str(report))
    assert ended.code == 2
    assert f"select.failed_in: {report}" in ended.errors
    assert cli.record()["requests"] == []


def test_a_dry_run_shows_the_plan_and_sends_nothing(cli: CommandLine) -> None:
    (row,) = _preview(cli, "health", "--start", "2026-01-31", "--end", "2026-02-01")
    assert (row["account"], row["name"], row["sync_type"]) == ("default", "health", "health")
    assert (row["start_date"], row["end_date"], row["action"]) == ("2026-01-31", "2026-02-01", "trigger")
    assert cli.record()["requests"] == []
    assert "2026-01-31" in cli.run("run", "health", "--start", "2026-01-31", "--dry-run").stdout


def test_a_dry_run_names_the_job_that_would_be_adopted(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    running = cli.start("run", "health")
    job = cli.until("running")
    ledger = open_ledger(cli.state)
    while ledger.recent(1)[0].job_id is None:
        time.sleep(0.02)
    ledger.close()
    running.process.kill()
    running.process.communicate()
    (row,) = _preview(cli, "health")
    assert row["action"] == f"adopt job {job['job_id']} of an earlier run, if it is still running"


def test_a_dry_run_of_a_plan_that_cannot_be_run_says_so(cli: CommandLine) -> None:
    ended = cli.run("run", "helth", "--dry-run")
    assert ended.code == 2
    assert "unknown sync type `helth`" in ended.errors
