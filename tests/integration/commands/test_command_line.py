"""The command line helps: slips get the nearest word, help is there for everything, shells can complete."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.parser import COMMANDS
from tests.support.command_line import sync_runner


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "unknown command `rnu`; did you mean `run`?"),
        (["stauts", "--json"], "unknown command `stauts`; did you mean `status`?"),
        (["--bse-url", "x", "run"], "unknown option `--bse-url`; did you mean `--base-url`?"),
        (["run", "--strat", "-7d"], "unknown option `--strat`; did you mean `--start`?"),
        (["status", "--bogus-words"], "unknown option `--bogus-words`"),
        (["version"], "unknown command `version`; did you mean `--version`?"),
        (["help", "rnu"], "help: unknown command `rnu`; did you mean `run`?"),
        (["--log-format", "xml", "run"], "--log-format: invalid choice `xml`; choose one of auto, json, console"),
        (["--log-level", "warn", "run"], "--log-level: invalid choice `warn`; did you mean `warning`?"),
        (["config", "shw"], "config: invalid choice `shw`; did you mean `show`?"),
        (["profiles"], "profiles: give one of list, show, validate, schema, new, test"),
        (["cancel"], "cancel: give JOB, the job's id, as `status` shows it"),
        (["run", "-x"], "unknown option `-x`"),
        (["logout", "anna"], "unexpected word `anna`; see `sync-runner logout --help`"),
        (["cancel", "1", "2"], "unexpected word `2`; see `sync-runner cancel --help`"),
        (["login", "--json"], "unknown option `--json`; see `sync-runner login --help`"),
        (
            ["--base-url", "http://localhost", "run", "health", "--only-failed"],
            "--only-failed): no earlier run is remembered",
        ),
        (["run", "--report"], "--report: give a value after it"),
        (["run", "--json", "--base-url", "http://localhost"], "--json is only for --dry-run"),
        (["status", "--limit", "ten"], "--limit: give a whole number instead of `ten`"),
        (["profiles", "show", "airflw"], "did you mean `airflow`?"),
        (["--set", "state.dri=x", "--base-url", "http://localhost", "check"], "did you mean `state.dir`?"),
        ([], "nothing to do: give a command, or settings (--base-url, --config) for `run`"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(words: list[str], told: str) -> None:
    ended = sync_runner(*words)
    assert ended.code == 2
    assert told in ended.stderr


def test_without_any_word_the_help_is_shown() -> None:
    assert "examples:" in sync_runner().stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "help"])
def test_each_command_has_a_help_that_names_its_options(command: str) -> None:
    for words in ((command, "--help"), ("help", command)):
        ended = sync_runner(*words)
        assert ended.code == 0
        assert f"sync-runner {command}" in ended.stdout
        assert "--account" in ended.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str) -> None:
    ended = sync_runner("completion", shell)
    assert ended.code == 0
    assert "sync-runner" in ended.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [("sync-runner sta", "status"), ("sync-runner run --sta", "--start"), ("sync-runner config s", "schema")],
)
def test_the_shell_is_told_what_fits(line: str, offered: str, tmp_path: Path) -> None:
    asked = {
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"),
    }
    subprocess.run([sys.executable, "-m", "runner"], env=asked, check=True, timeout=60)
    assert offered in (tmp_path / "out").read_text()


def test_output_that_nobody_reads_any_more_is_no_error() -> None:
    shown = subprocess.Popen([sys.executable, "-m", "runner", "config", "schema"], stdout=subprocess.PIPE)
    assert shown.stdout is not None
    shown.stdout.close()
    assert shown.wait(60) == 0
