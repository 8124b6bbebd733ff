"""The commands beside `run`, as processes against the sandbox."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.commands import config
from tests.support.command_line import CommandLine, Running, sync_runner

MakeCommandLine = Callable[..., CommandLine]


def test_demo_runs_three_syncs_shows_items_and_code_and_leaves_nothing(tmp_path: Path) -> None:
    ended = sync_runner("demo", "--job-seconds", "0", TMPDIR=str(tmp_path))
    assert ended.code == 0
    for row in (r"activities +completed +140/140", r"health +completed +365/365", r"workouts +completed +83/83"):
        assert re.search(row, ended.stdout)
    assert "exit code 0: every sync completed" in ended.stdout
    assert list(tmp_path.iterdir()) == []
    assert [line["mfa"] for line in ended.events("session.started")] == [True]


def test_check_shows_the_cool_down_and_login_force_clears_it(cli: CommandLine) -> None:
    (cli.secrets / "password").write_text("wrong")
    assert cli.run("check").code == 3
    again = cli.run("check")
    assert again.code == 3
    assert re.search(r"no login for another \d+ s, after a refused login", again.stdout)
    assert "it is not sent again until it changes" in cli.run("run", "health").errors
    assert cli.run("login", "--force").code == 3
    assert len([one for one in cli.record()["requests"] if one["endpoint"] == "login"]) == 2
    (cli.secrets / "password").write_text(cli.server.settings.password)
    assert cli.run("run", "health").code == 0


def test_login_keeps_the_session_for_the_run_and_logout_drops_it(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    assert cli.run("login").code == 0
    assert cli.run("run", "health").events("session.reused")
    assert cli.run("logout").code == 0
    assert cli.run("run", "health").events("session.started")


def test_login_without_a_state_directory_says_what_to_give(cli: CommandLine) -> None:
    ended = sync_runner("login", "--base-url", cli.server.base_url, "--secrets-dir", str(cli.secrets))
    assert ended.code == 2
    assert "--state-dir" in ended.errors


@pytest.mark.parametrize(
    "words", [("status",), ("status", "--json"), ("status", "--offline"), ("status", "--offline", "--json")]
)
def test_status_hides_what_the_api_repeats_of_the_secrets(cli_with: MakeCommandLine, words: tuple[str, ...]) -> None:
    cli = cli_with(mfa="none", password="a canary of a password " * 10)
    cli.server.sandbox.state.run(
        "CREATE TRIGGER note AFTER UPDATE OF status ON jobs BEGIN "
        f"UPDATE jobs SET error_message='no: {cli.server.settings.password}' WHERE number=NEW.number; END"
    )
    cli.fault(kind="job_fails", times=-1)
    assert cli.run("run", "health").code == 4
    shown = cli.run(*words).stdout
    assert "***" in shown
    assert "canary" not in shown
    assert b"canary" not in (cli.state / "ledger.sqlite3").read_bytes()


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_status_refuses_a_limit_that_can_not_be(cli: CommandLine, limit: str) -> None:
    assert cli.run("status", "--limit", limit).code == 2


def test_status_offline_needs_a_state_directory() -> None:
    ended = sync_runner("--base-url", "http://127.0.0.1:1", "status", "--offline")
    assert ended.code == 2
    assert "--state-dir" in ended.errors


def test_cancel_ends_a_job(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    running = cli.start("run", "health", "--report", "-")
    job = cli.until("running")
    ended = cli.run("cancel", job["job_id"])
    assert (ended.code, ended.stdout) == (0, f"{job['job_id']}: cancelled\n")
    run = running.finish()
    assert run.code == 4
    assert run.report["syncs"][0]["outcome"] == "cancelled"


def test_cancel_of_an_unknown_job_is_told(cli_with: MakeCommandLine) -> None:
    ended = cli_with(mfa="none").run("cancel", "no-such-job")
    assert ended.code == 2
    assert "no-such-job" in ended.errors


def test_config_show_gives_each_value_with_its_source_and_no_secret(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "runner.yaml"
    file.write_text("concurrency: 3\n")
    ended = cli.run("config", "show", "--config", str(file), SYNC_RUNNER_POLL__MAX="9s")
    assert ended.code == 0
    shown = ended.stdout
    assert f'base_url = "{cli.server.base_url}"  # command line' in shown
    assert f"concurrency = 3  # {file}:1" in shown
    assert 'poll.max = "9s"  # SYNC_RUNNER_POLL__MAX' in shown
    assert 'poll.stall = "10m"  # default' in shown
    assert f"password = ***  # {cli.secrets}/password" in shown
    assert cli.server.settings.password not in shown


def test_config_show_names_the_variable_that_a_secret_comes_from() -> None:
    shown = sync_runner(
        "--base-url",
        "http://127.0.0.1:1",
        "config",
        "show",
        SYNC_RUNNER_PASSWORD="geheim",
        SYNC_RUNNER_USERNAME_FILE="/x",
    ).stdout
    assert "password = ***  # SYNC_RUNNER_PASSWORD\n" in shown
    assert "username = ***  # SYNC_RUNNER_USERNAME_FILE\n" in shown
    assert "totp_seed = null  # not given\n" in shown


def test_what_config_init_writes_is_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "runner.yaml"
    file.write_text(sync_runner("config", "init").stdout)
    assert sync_runner("config", "show", "--config", str(file)).code == 0
    # with the first # of each line taken away all settings are set, to their defaults
    file.write_text("".join(line.removeprefix("#") for line in file.read_text().splitlines(keepends=True)))
    full = sync_runner("config", "show", "--config", str(file))
    assert full.code == 0, full.errors
    assert "# default" not in full.stdout


def test_the_env_example_in_the_repository_is_what_config_init_writes() -> None:
    assert Path(".env.example").read_text() == sync_runner("config", "init", "--env").stdout == config.env_example()


def test_every_variable_of_the_env_example_is_known() -> None:
    names = re.findall(r"^#(SYNC_RUNNER_\w+)=", config.env_example(), re.MULTILINE)
    assert len(names) > 30
    empty = {name: "" for name in names if name != "SYNC_RUNNER_BASE_URL"}
    ended = sync_runner("config", "show", **empty, SYNC_RUNNER_BASE_URL="https://x.example")
    assert ended.code == 0, ended.errors


def test_config_show_hides_addresses_that_may_hold_a_token_and_knows_systemds_credentials(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("Geheimnis-1")
    words = [
        "--base-url",
        "https://x.example",
        "--set",
        "notify.ping.url=https://hc.example/Geheimnis-2",
        "--secrets-dir",
        "/nowhere",
    ]
    ended = sync_runner("config", "show", "--json", *words, CREDENTIALS_DIRECTORY=str(tmp_path))
    rows = {row["key"]: row for row in json.loads(ended.stdout)}
    assert rows["notify.ping.url"] == {"key": "notify.ping.url", "value": "***", "source": "command line"}
    assert rows["password"]["source"] == f"{tmp_path}/password"
    assert rows["username"]["source"] == "not given"
    assert "Geheimnis" not in ended.stdout


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("deadline=x", "deadline: give keys and values below it"),
        ("limits.accounts=zero", "limits.accounts: give a whole number"),
        ("log.level=loud", "log.level: give one of 'debug', 'info', 'warning' or 'error'"),
        ("retry.attempts=0", "retry.attempts: give a number of at least 1"),
        ("poll.max=soon", "poll.max: give a duration such as 250ms, 30s"),
        ("tls.allow_http=perhaps", "tls.allow_http: give true or false"),
        ("metrics.pushgateway.job=", "metrics.pushgateway.job: give at least one character"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_our_words(setting: str, told: str) -> None:
    ended = sync_runner("--base-url", "https://x.example", "--set", setting, "config", "show")
    assert ended.code == 2
    assert f"command line: {told}" in ended.errors
    for name in ("Settings", "valid dictionary", "Input should"):
        assert name not in ended.errors


def test_a_setting_by_its_old_name_works_and_is_warned_of(cli: CommandLine) -> None:
    ended = cli.run("run", "health", SYNC_RUNNER_LIMITS__LOOKS="7")
    assert ended.code == 0
    told = ended.events("settings.renamed")[0]
    assert (told["old"], told["new"]) == ("limits.looks", "limits.polls_per_second")
    assert told["source"] == "SYNC_RUNNER_LIMITS__LOOKS"


def test_config_schema_is_a_json_schema_that_takes_the_example() -> None:
    import jsonschema

    schema = json.loads(sync_runner("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "base_url" in schema["required"]


def test_a_description_of_an_api_is_told_as_one(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("openapi: 3.0.0\npaths: {}\n", encoding="utf-8")
    ended = sync_runner("profiles", "validate", str(own))
    assert ended.code == 2
    assert "`sync-runner profiles new` drafts a profile from it" in ended.errors


def test_profiles_are_listed_shown_and_validated(tmp_path: Path) -> None:
    assert "garminsync" in sync_runner("profiles", "list").stdout
    shown = sync_runner("profiles", "show", "garminsync").stdout
    assert "${code}" in shown
    own = tmp_path / "own.yaml"
    own.write_text(shown)
    assert sync_runner("profiles", "validate", str(own)).stdout == f"{own}: valid\n"
    own.write_text(shown.replace("access_token: access_token", "acces_token: access_token"))
    broken = sync_runner("profiles", "validate", str(own))
    assert broken.code == 2
    assert "acces_token" in broken.errors
    assert sync_runner("profiles", "show").code == 2
    assert sync_runner("profiles", "show", "nonesuch").code == 2


def test_the_sandbox_command_serves_with_the_credentials_that_it_prints(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    running = Running(["sandbox", "--port", "0", "--print-credentials", "--write-secrets", str(secrets)], {})
    assert running.process.stdout is not None
    told = json.loads(running.process.stdout.readline())
    assert {path.name: path.read_text().strip() for path in secrets.iterdir()} == {
        name: told[name] for name in ("username", "password", "totp_seed")
    }
    run = sync_runner("--base-url", told["base_url"], "--secrets-dir", str(secrets), "run", "workouts")
    assert run.code == 0
    running.signal(signal.SIGTERM)
    ended = running.finish()
    assert ended.code in (0, 143)


@pytest.mark.parametrize(
    "command", ["", "run", "check", "status", "cancel", "login", "logout", "config", "profiles", "sandbox", "demo"]
)
def test_help_teaches_every_command(command: str) -> None:
    shown = sync_runner(*([command] if command else []), "--help")
    assert shown.code == 0
    assert shown.stdout.startswith("usage: sync-runner")
    assert "--config" in shown.stdout


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"sync-runner \d+\.\d+\.\d+\S*\n", sync_runner("--version").stdout)


def test_run_is_the_default_command(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    ended = sync_runner(*cli.options(), SYNC_RUNNER_SYNCS="workouts")
    assert ended.code == 0
    assert len(cli.jobs("completed")) == 1


def test_a_reader_that_leaves_early_is_no_defect() -> None:
    ended = subprocess.run(
        f"{sys.executable} -m runner config init | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
