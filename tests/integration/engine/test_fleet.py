"""Many accounts: apart in failure, together within limits, each in one shard. Judged by the server's record."""

import asyncio
import re
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runner.jobs.pacing import Pacer
from runner.models import AccountResult, SyncJob
from runner.outputs.report_model import read_report, schema
from runner.outputs.sending import own_instance
from runner.outputs.summary import one_line
from runner.settings import OtlpSettings, PushgatewaySettings
from runner.state.sqlite_ledger import SqliteLedger
from tests.campaign.fleet import TYPES, Fleet, done_once, fleet_of, one_process, shards
from tests.support.command_line import sync_runner
from tests.support.in_process import RunOutput, run_here

NOWHERE = Path("/nowhere")


def run_all(fleet: Fleet, **settings: Any) -> RunOutput:
    """A run of the fleet in this process."""
    return run_here(fleet.cli.server.base_url, NOWHERE, list(TYPES), accounts_dir=str(fleet.folders), **settings)


def logins(fleet: Fleet) -> int:
    return sum(one["endpoint"] == "login" for one in fleet.cli.record()["requests"])


def test_what_fails_with_one_account_touches_no_other_and_the_runs_code_says_that_no_retry_helps(
    tmp_path: Path,
) -> None:
    with fleet_of(4) as fleet:
        (fleet.folders / "account-0001" / "password").unlink()
        (fleet.folders / "account-0002" / "password").write_text("wrong\n", encoding="utf-8")
        textfile, report = tmp_path / "run.prom", ["run", *TYPES, "--report", "-"]
        ended = sync_runner(
            *("--base-url", fleet.cli.server.base_url, "--set", f"accounts_dir={fleet.folders}"),
            *("--set", f"metrics.textfile={textfile}", *report),
        )
        completed = Counter(job["user_id"] for job in fleet.cli.jobs("completed"))
    assert ended.code == 3
    assert sorted(completed.values()) == [3, 3]
    assert [(one["account"], one["exit_code"], one["completed"], one["total"]) for one in ended.report["accounts"]] == [
        ("account-0000", 0, 3, 3), ("account-0001", 3, 0, 3), ("account-0002", 3, 0, 3), ("account-0003", 0, 3, 3),
    ]  # fmt: skip
    jsonschema.validate(ended.report, schema())
    assert "; 6 of 12 syncs completed; account-0001/activities: " in one_line(read_report(ended.stdout))
    told = {line["account"]: line["exit_code"] for line in ended.events("account.ended")}
    assert told == {"account-0000": 0, "account-0001": 3, "account-0002": 3, "account-0003": 0}
    series = 'sync_runner_syncs_total{account="(.*)",result="(.*)",sync_type="activities"} 1.0'
    assert dict(re.findall(series, textfile.read_text(encoding="utf-8"))) == {
        "account-0000": "completed", "account-0001": "authentication",
        "account-0002": "authentication", "account-0003": "completed",
    }  # fmt: skip


def test_each_account_of_the_list_has_its_own_secrets_and_syncs() -> None:
    with fleet_of(2) as fleet:
        listed = [
            {"name": "a", "secrets_dir": str(fleet.folders / "account-0000")},
            {"name": "b", "secrets_dir": str(fleet.folders / "account-0001"), "syncs": ["workouts"]},
        ]
        ended = run_here(fleet.cli.server.base_url, NOWHERE, ["health"], accounts=listed)
        ran = Counter(job["sync_type"] for job in fleet.cli.jobs("completed"))
    told = [replace(one, user_id=None, session_id=None) for one in ended.result.accounts]
    assert told == [AccountResult("a", 0, 1, 1), AccountResult("b", 0, 1, 1)]
    assert len({one.session_id for one in ended.result.accounts} - {None}) == 2
    assert ran == {"health": 1, "workouts": 1}


@pytest.mark.parametrize("disk_seconds", [0.0, 0.1])
@pytest.mark.parametrize("kept", [False, True])
def test_of_accounts_with_one_user_a_wrong_password_is_sent_once_and_no_sync_is_in_doubt(
    kept: bool, disk_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_at_once = SqliteLedger.ended

    async def ended_by_a_slow_disk(self: SqliteLedger, *values: Any, **named: Any) -> None:
        await asyncio.sleep(disk_seconds)
        await ended_at_once(self, *values, **named)

    monkeypatch.setattr(SqliteLedger, "ended", ended_by_a_slow_disk)
    with fleet_of(1) as fleet:
        secrets = fleet.folders / "account-0000"
        (secrets / "password").write_text("wrong\n", encoding="utf-8")
        listed = [{"name": name, "secrets_dir": str(secrets)} for name in "abcd"]
        state = tmp_path if kept else None
        ended = run_here(fleet.cli.server.base_url, NOWHERE, ["health"], accounts=listed, state=state)
        sent = logins(fleet)
    assert ended.outcomes == ["authentication"] * 4
    assert (ended.code, sent) == (3, 1)


@pytest.mark.parametrize("limits", [{"connections": 3}, {"accounts": 2}])
def test_no_more_happens_at_once_than_is_set(limits: dict[str, int]) -> None:
    """Jobs take a while, so that everything that may happen at once does."""
    with fleet_of(12, job_seconds=0.2) as fleet:
        ended = run_all(fleet, limits=limits, concurrency=3)
        record = fleet.cli.record()
        assert done_once(fleet) == 36
    assert ended.code == 0
    (least,) = limits.values()
    if "connections" in limits:
        assert record["most_connections"] == least
    else:
        assert most_at_once(record["jobs"]) == 3 * least


def test_a_crowd_is_counted_before_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first of a thousand jobs would be looked at as often as if each were the only one."""
    crowds: list[int] = []
    poll = Pacer.next_poll

    def counted(self: Pacer, job: SyncJob, watched: float, least: float = 0.0) -> float:
        crowds.append(round(least))
        return poll(self, job, watched, least)

    monkeypatch.setattr(Pacer, "next_poll", counted)
    with fleet_of(6) as fleet:
        ended = run_all(fleet, limits={"polls_per_second": 1, "accounts": 4}, concurrency=2)
    assert ended.code == 0
    assert crowds[0] == 8  # 4 accounts, 2 jobs each, one look a second


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    """How many of the jobs ran at the same time, by the server's times."""
    spans = [(str(job["start_time"]), str(job["end_time"])) for job in jobs]
    return max(sum(begun <= at < ended for begun, ended in spans) for at, _ in spans)


def test_a_thousand_accounts_in_small() -> None:
    assert one_process(25, connections=5, accounts=10)["jobs"] == 75
    assert shards(12, 2)["jobs"] == 36


def test_the_campaign_sees_an_account_that_two_shards_take(tmp_path: Path) -> None:
    with fleet_of(2) as fleet:
        for shard in ("0/1", None):
            assert run_all(fleet, shard=shard, state=tmp_path).code == 0
        with pytest.raises(AssertionError):
            done_once(fleet)
        assert done_once(fleet, times=2) == 12


def test_a_shard_without_accounts_has_nothing_to_do_and_that_is_no_fault() -> None:
    with fleet_of(1) as fleet:
        ended = [run_all(fleet, shard=f"{index}/3") for index in range(3)]
        assert done_once(fleet) == 3
    assert [one.code for one in ended] == [0, 0, 0]
    assert sorted(len(one.result.results) for one in ended) == [0, 0, 3]
    assert [one.result.shard for one in ended] == ["0/3", "1/3", "2/3"]


def test_a_short_fault_that_all_accounts_meet_at_once_fails_none_of_them() -> None:
    """Each account at work brings its own retries into the store that all share."""
    with fleet_of(12) as fleet:
        fleet.cli.fault(kind="status", endpoint="login", status=503, times=12)
        ended = run_all(fleet, retry={"budget": 1})
        assert done_once(fleet) == 36
    assert ended.code == 0, ended.errors


def test_after_the_deadline_of_the_run_no_further_account_logs_in() -> None:
    with fleet_of(4, job_seconds=60.0) as fleet:
        ended = run_all(fleet, limits={"accounts": 1}, deadline={"run": 10.0})
        assert logins(fleet) == 1 + 1  # the password, then the code, of the first account
    assert ended.code == 6
    assert [one.exit_code for one in ended.result.accounts] == [6] * 4
    assert ended.result.results[-1].error == "not started: the run's deadline (deadline.run: 10s) had passed"


def test_after_a_signal_no_further_account_logs_in() -> None:
    with fleet_of(3, job_seconds=60.0) as fleet:
        more = ["--set", f"accounts_dir={fleet.folders}", "--set", "limits.accounts=1"]
        running = fleet.cli.start("run", *TYPES, "--report", "-", *more)
        fleet.cli.until("running")
        running.signal(signal.SIGTERM)
        ended = running.finish()
        assert logins(fleet) == 1 + 1
        assert [job["status"] for job in fleet.cli.jobs()] == ["cancelled"]
    assert ended.code == 143
    assert [one["exit_code"] for one in ended.report["accounts"]] == [143] * 3
    assert [sync["error"] for sync in ended.report["syncs"][3:]] == ["not started: the run was interrupted"] * 6


@pytest.mark.parametrize(
    ("instance", "shard", "found"),
    [(None, "2/4", "shard-2"), (None, None, None), ("mine", "2/4", "mine"), ("mine", None, "mine")],
)
def test_each_shard_has_an_instance_of_its_own_at_a_pushgateway_and_a_collector(
    instance: str | None, shard: str | None, found: str | None
) -> None:
    assert own_instance(PushgatewaySettings(instance=instance), shard).instance == found
    assert own_instance(OtlpSettings(instance=instance), shard).instance == found
