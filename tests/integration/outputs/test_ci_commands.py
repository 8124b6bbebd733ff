"""What an API says never becomes a command of the CI that shows the log: GitHub, Azure Pipelines, GitLab, Jenkins."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.outputs.conftest import Runner, sandbox_runner
from tests.support import forked
from tests.support.raw_server import RawServer, http
from tests.support.recording_proxy import RecordingProxy

# The commands that actions/runner registers; other names it shows as text.
GITHUB = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
}  # fmt: skip
OURS = {"error", "warning"}  # the runner's annotations
HOSTILE = (
    "\n::set-output name=result::success",
    "\r\n  ::stop-commands::x",
    "\n::error file=a.py,line=1::forged",
    "\u2028::add-mask::a",
    "##[add-mask]a",
    "x ##[stop-commands]y",
    "##vso[task.setvariable variable=PATH]/tmp",
    "text ##vso[task.complete result=Succeeded;]done",
    "##teamcity[buildStatus status='SUCCESS']",
    "\nsection_start:1:forged[collapsed=true]\r\x1b[0Kforged",
    "\r\x1b[0Ksection_end:1:step_script\r\x1b[0K",
    "\x1b[8mha:AAAA\x1b[0m",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "%0A::error::forged",
)
FAILURE = "the data source is not available"  # the sandbox's word for a job that failed


@pytest.fixture
def runner(tmp_path: Path, year: Path) -> Iterator[Runner]:
    """A sandbox, and the secrets that it knows."""
    with sandbox_runner(tmp_path, data=year) as made:
        yield made


def github_commands(output: str) -> list[tuple[str, str]]:
    """Each command that GitHub would run: its name and line, by the rules of actions/runner's ActionCommand.cs.

    A command begins its line after white space (`::name ...::`), or stands anywhere in it (`##[name ...]`).
    """
    found = []
    for line in re.split(r"\r\n|\r|\n", output):
        new = re.match(r"\s*::(\S*)(?: .*?)?::", line)
        old = re.search(r"##\[([^\] ]*)(?: [^\]]*)?\]", line)
        found += [(match[1], line) for match in (new, old) if match and match[1] in GITHUB]
    return found


def assert_harmless(output: str) -> None:
    """No command of a CI in it but the runner's own annotations, each of which is one line."""
    for name, line in github_commands(output):
        assert name in OURS and re.match(rf"::{name} title=[^:,]*::", line), line
        assert not re.search(r"##\[", line), line
    assert not re.search(r"##(vso|teamcity)?\[", output)
    assert not re.search(r"section_(start|end):\d+:[^\r\n]*\r", output)
    assert "\x1b" not in output and "\r" not in output


def run(runner: Runner, base_url: str, directory: Path, *words: str) -> str:
    """All that a run as a GitHub step writes: standard output, standard error, step summary and outputs."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("SYNC_RUNNER_", "GITHUB_"))}
    variables |= {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    given = ["run", "health", "--base-url", base_url, *words, "--secrets-dir", str(runner.secrets)]
    done = forked.run(given, variables, cwd=directory, errors="replace")
    assert done.returncode not in (0, 1), done.stderr
    lines = (directory / "output").read_text().splitlines() if (directory / "output").exists() else []
    assert len(lines) == len({line.partition("=")[0] for line in lines}), lines
    return done.stdout + done.stderr


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_jobs_error_forms_no_command_of_a_ci(runner: Runner, tmp_path: Path, log_format: str) -> None:
    hostile = json.dumps("".join(HOSTILE))[1:-1].encode()
    with RecordingProxy(runner.server.base_url, rewrite=lambda body: body.replace(FAILURE.encode(), hostile)) as api:
        runner.fault(kind="job_fails", times=-1)
        written = run(runner, api.base_url, tmp_path, "--log-format", log_format)
    assert "forged" in written  # the text came through, as text
    assert_harmless(written)


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_a_refusals_words_form_no_command_of_a_ci(runner: Runner, tmp_path: Path, text: str) -> None:
    body = json.dumps({"detail": text, "error": text, "message": text}).encode()
    with RawServer(http(body, status="403 Forbidden")) as api:
        written = run(runner, api.base_url, tmp_path)
    assert_harmless(written)


def test_the_judge_sees_each_kind_of_command() -> None:
    for text in HOSTILE[:3] + HOSTILE[4:6]:
        assert github_commands(text), text
    for text in HOSTILE:
        if text != "%0A::error::forged" and not text.startswith("\u2028"):
            with pytest.raises(AssertionError):
                assert_harmless(text)
    assert_harmless('::error title=a%3A b::text ::error::\n{"error": "\\n::error::x"}\n')
