"""`check` is the run without its triggers: what it says is what a run would meet, and it says what it could not try."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command_line import CommandLine

MakeCommandLine = Callable[..., CommandLine]
Rows = dict[str, dict[str, Any]]


def _checked(cli: CommandLine, *words: str, code: int) -> Rows:
    """The rows of `check --json` by their part."""
    ended = cli.run("check", "--json", *words)
    assert ended.code == code, ended.stderr + ended.stdout
    told = json.loads(ended.stdout)
    assert told["exit_code"] == code
    return {row["part"]: row for row in told["checks"]}


SYNCS = ("--set", "syncs=activities,health")


def test_it_logs_in_proves_the_session_and_triggers_nothing(cli: CommandLine) -> None:
    rows = _checked(cli, *SYNCS, code=0)
    assert rows["login"]["detail"] == "logged in with a one-time code; the API's clock shows no difference from ours"
    assert rows["session"]["detail"] == "the API accepts it: it listed the account's jobs (none yet)"
    assert rows["plan"]["detail"] == "2 syncs: activities, health"
    assert str(cli.state) in rows["state"]["detail"]
    assert rows["rights"]["result"] == "not tried"
    assert cli.jobs() == []


def test_it_takes_types_and_days_as_a_run_does(cli: CommandLine) -> None:
    rows = _checked(cli, "health", "--start", "-7d", "--no-login", code=0)
    assert rows["plan"]["detail"] == "1 sync: health"
    assert "did you mean `health`" in _checked(cli, "helth", "--no-login", code=2)["plan"]["detail"]
    assert "invalid date `soon`" in _checked(cli, "health", "--start", "soon", "--no-login", code=2)["plan"]["detail"]
    assert "need a TYPE" in _checked(cli, "--start", "-7d", code=2)["settings"]["detail"]


def test_a_kept_session_is_said_to_be_kept_and_is_proved_by_a_request(cli: CommandLine) -> None:
    assert cli.run("login").code == 0
    before = len(cli.record()["requests"])
    rows = _checked(cli, *SYNCS, code=0)
    assert rows["login"]["detail"].startswith("the stored session is valid")
    assert [request["endpoint"] for request in cli.record()["requests"][before:]] == ["status"]


def test_a_kept_session_at_an_api_that_is_away_is_no_success(cli: CommandLine) -> None:
    assert cli.run("login").code == 0
    cli.fault(kind="status", status=503, endpoint="status", times=-1)
    rows = _checked(cli, *SYNCS, "--set", "retry.attempts=2", "--set", "retry.wait=10ms", code=7)
    assert rows["session"]["result"] == "failed"


@pytest.mark.parametrize(
    ("words", "code", "part", "told"),
    [
        (("syncs=actvities",), 2, "plan", "unknown sync type `actvities` in this profile"),
        (('syncs=[{"type": "health", "after": ["workouts"]}]',), 2, "plan", "no sync named `workouts`"),
        (
            ('syncs=[{"type": "health", "after": ["activities"]}, {"type": "activities", "after": ["health"]}]',),
            2, "plan", "wait for each other in `after`",
        ),
        (("syncs=health", "time_zone=Europe/Nowhere"), 2, "plan", "time_zone: unknown zone `Europe/Nowhere`"),
        (('syncs=[{"type": "health", "start": "last-sucess"}]',), 2, "plan", "invalid date `last-sucess`"),
        (("concurrency=1",), 2, "plan", "syncs: nothing to run"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_refused(
    cli: CommandLine, words: tuple[str, ...], code: int, part: str, told: str
) -> None:
    rows = _checked(cli, *(word for given in words for word in ("--set", given)), code=code)
    assert rows[part]["result"] == "failed"
    assert told in rows[part]["detail"]


def test_a_state_directory_that_cannot_be_written_is_refused(cli: CommandLine) -> None:
    rows = _checked(cli, *SYNCS, "--state-dir", "/proc/nowhere", code=2)
    assert rows["state"]["result"] == "failed"
    assert "/proc/nowhere" in rows["state"]["detail"]


def test_a_missing_secret_is_named_with_the_code_of_a_run(cli: CommandLine) -> None:
    (cli.secrets / "password").unlink()
    rows = _checked(cli, *SYNCS, code=3)
    assert rows["secrets"]["result"] == "failed"
    assert "password: no such secret" in rows["secrets"]["detail"]


def test_a_sync_deadline_beyond_the_runs_is_warned_of(cli: CommandLine) -> None:
    rows = _checked(cli, *SYNCS, "--set", "deadline.run=30m", "--no-login", code=0)
    assert rows["deadlines"]["result"] == "warning"


def test_without_login_the_api_is_sent_nothing_and_the_rest_is_tried(cli: CommandLine) -> None:
    rows = _checked(cli, *SYNCS, "--no-login", code=0)
    assert rows["login"]["result"] == "not tried"
    assert rows["state"]["result"] == rows["plan"]["result"] == rows["secrets"]["result"] == "ok"
    assert cli.record()["requests"] == []


def test_each_account_has_its_rows_and_one_fault_hides_no_other(cli: CommandLine) -> None:
    fleet = cli.home / "fleet"
    for name in ("a", "b"):
        (fleet / name).mkdir(parents=True)
        for secret in cli.secrets.iterdir():
            (fleet / name / secret.name).write_bytes(secret.read_bytes())
    (fleet / "a" / "password").unlink()
    ended = cli.run("check", "--json", *SYNCS, "--set", f"accounts_dir={fleet}")
    assert ended.code == 3
    rows = json.loads(ended.stdout)["checks"]
    told = {(row["account"], row["part"]): row["result"] for row in rows}
    assert (told["a", "secrets"], told["b", "secrets"], told["b", "session"]) == ("failed", "ok", "ok")
    only = cli.run("check", "--json", *SYNCS, "--set", f"accounts_dir={fleet}", "--account", "b")
    assert only.code == 0


def test_a_person_gets_a_table(cli: CommandLine) -> None:
    shown = cli.run("check", *SYNCS)
    assert shown.code == 0
    assert "session" in shown.stdout
    assert "not tried" in shown.stdout


def test_the_proof_of_the_state_is_kept(cli: CommandLine) -> None:
    began = time.time()
    assert cli.run("check", "--no-login", *SYNCS).code == 0
    (file,) = (cli.state / "sessions").glob("[0-9a-f]*.json")
    assert json.loads(file.read_text())["checked_at"] >= began - 1


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("metrics.pushgateway.url=http://127.0.0.1:1", "output pushgateway"),
        ("metrics.otlp.endpoint=http://127.0.0.1:1", "output otlp"),
        ("notify.ping.url=http://127.0.0.1:1/Geheimnis", "output notification"),
        ("notify.webhook.url=http://127.0.0.1:1/Geheimnis", "output notification"),
        ("report.file=/nowhere/report.json", "output report"),
        ("report.junit=/nowhere/junit.xml", "output junit"),
        ("report.html=/nowhere/page.html", "output html"),
        ("metrics.textfile=/nowhere/run.prom", "output textfile"),
        ("report.file=/tmp", "output report"),
        ("metrics.listen=a..b:9100", "output metrics endpoint"),
        (f"metrics.listen={'a' * 64}:9100", "output metrics endpoint"),
        ("report.junit=/tmp", "output junit"),
        ("report.html=/tmp", "output html"),
        ("report.dotenv=/tmp", "output dotenv"),
    ],
)
def test_an_output_that_cannot_be_written_or_reached_is_refused(cli: CommandLine, setting: str, part: str) -> None:
    ended = cli.run("check", "--json", "--no-login", *SYNCS, "--set", setting)
    assert ended.code == 2, ended.stdout
    failed = [row for row in json.loads(ended.stdout)["checks"] if row["result"] == "failed"]
    assert [row["part"] for row in failed] == [part]
    assert "Geheimnis" not in ended.stdout


def test_outputs_that_work_are_said_to(cli: CommandLine) -> None:
    words = ("--set", f"report.file={cli.home / 'r.json'}", "--set", f"notify.ping.url={cli.server.base_url}")
    rows = _checked(cli, *SYNCS, "--no-login", *words, code=0)
    assert rows["output report"]["result"] == rows["output notification"]["result"] == "ok"
    assert not (cli.home / "r.json").exists()
    assert cli.record()["requests"] == []


def test_an_output_that_does_not_accept_us_is_refused(cli: CommandLine) -> None:
    port = cli.server.base_url.rpartition(":")[2]
    for setting, part, told in (
        (f"metrics.pushgateway.url={cli.server.base_url}", "output pushgateway", "answered 404 to GET /metrics"),
        (f"metrics.otlp.endpoint={cli.server.base_url}", "output otlp", "the collector answered 404"),
        (f"metrics.listen=127.0.0.1:{port}", "output metrics endpoint", "cannot listen"),
    ):
        rows = _checked(cli, *SYNCS, "--no-login", "--set", setting, code=2)
        assert rows[part]["result"] == "failed"
        assert told in rows[part]["detail"]


def test_a_program_for_codes_is_looked_for_without_a_login(cli: CommandLine) -> None:
    words = ("--set", "code.source=command", "--set", 'code.command=["/nowhere/pass"]')
    rows = _checked(cli, *SYNCS, "--no-login", *words, code=3)
    assert "not an executable program" in rows["codes"]["detail"]


@pytest.mark.parametrize(
    ("words", "part", "told"),
    [
        (("--base-url", "https://x.example", "--set", "tls.ca_file=/nowhere"), "start", "tls.ca_file: /nowhere"),
        (("--set", "accounts_dir=/nowhere"), "plan", "accounts_dir: /nowhere"),
        (("--set", "concurrency=many"), "settings", "concurrency: give a whole number"),
        (("--profile", "nowhere.yaml"), "settings", "nowhere.yaml"),
    ],
)
def test_what_ends_a_run_before_its_first_account_is_a_row_too(
    cli: CommandLine, words: tuple[str, ...], part: str, told: str
) -> None:
    rows = _checked(cli, *SYNCS, *words, code=2)
    assert rows[part]["result"] == "failed"
    assert told in rows[part]["detail"]
