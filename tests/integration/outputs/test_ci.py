"""The examples for CI systems: their own shell steps, run by bash against a sandbox as the services run them."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any

import junitparser
import pytest
import yaml

from runner.errors import ExitCode
from runner.settings import DeadlineSettings, parse_duration
from tests.integration.outputs.conftest import Runner, sandbox_runner
from tests.support.output_place import job as finished
from tests.support.output_place import profile
from tests.support.recording_proxy import RecordingProxy
from tests.support.scripted_api import ScriptedApi
from tests.support.workflows import as_github_reads

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deploy" / "ci.md").read_text()
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab.yml").read_text())
JENKINS = (ROOT / "examples" / "ci" / "Jenkinsfile").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
BIN = Path(sys.executable).parent


@pytest.fixture
def runner(tmp_path: Path, year: Path) -> Iterator[Runner]:
    """A sandbox, and the secrets that it knows."""
    with sandbox_runner(tmp_path, data=year) as made:
        yield made


class Job:
    """What GitHub lays out for a job, and the action's steps in it. The runner is this one, as if the first step had installed it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.temporary = directory / "_temp"
        (self.temporary / "sync-runner").mkdir(parents=True)
        (self.temporary / "sync-runner" / "bin").symlink_to(BIN)
        self.secrets = self.temporary / "sync-runner-secrets"
        self.code, self.err = -1, ""
        self.modes: set[int] = set()

    def uses(self, **given: str) -> None:
        """Run the action with these inputs, its first step left out."""
        inputs = {
            name: given.pop(name.replace("-", "_"), about.get("default", ""))
            for name, about in ACTION["inputs"].items()
        }
        assert not given
        known = {f"inputs.{name}": value for name, value in inputs.items()} | {
            "runner.temp": str(self.temporary),
            "github.run_id": "17",
        }
        for step in ACTION["runs"]["steps"][1:]:
            if self.code > 0 and "if" not in step:
                continue
            done = self.step(step["run"], {key: filled(text, known) for key, text in step["env"].items()})
            if step.get("id") == "run":
                self.code, self.err = done.returncode, done.stderr
            else:
                assert done.returncode == 0, done.stderr
            if self.secrets.is_dir():
                self.modes |= {path.stat().st_mode & 0o777 for path in (self.secrets, *self.secrets.iterdir())}

    def step(self, script: str, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """One step's script, as GitHub runs `shell: bash`."""
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("SYNC_RUNNER_", "GITHUB_"))}
        variables |= {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary", **more}
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(words, cwd=self.directory, env=variables, capture_output=True, text=True, timeout=300)

    def outputs(self) -> dict[str, str]:
        """The action's outputs."""
        step = as_github_reads((self.directory / "output").read_text())
        known = {f"steps.run.outputs.{key}": value for key, value in step.items()}
        return {name: filled(about["value"], known) for name, about in ACTION["outputs"].items()}


def filled(text: str, known: dict[str, str]) -> str:
    """The text with its `${{ }}` filled in."""
    return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known.get(found[1], ""), text)


def secrets_of(runner: Runner) -> dict[str, str]:
    """The inputs with the sandbox's secrets."""
    return {
        name: (runner.secrets / name).read_text().removesuffix("\n") for name in ("username", "password", "totp_seed")
    }


def test_the_action_runs_the_syncs_and_leaves_reports_outputs_and_no_secret(runner: Runner, tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    given = secrets_of(runner)
    job.uses(base_url=runner.server.base_url, syncs="activities,\n health\n", start="-7d", end="today", **given)
    assert job.code == 0, job.err
    assert job.outputs() == {
        "exit_code": "0", "result": "success", "run_id": job.outputs()["run_id"], "completed": "2", "failed": "0",
        "results": "",
    }  # fmt: skip
    reports = job.directory / "sync-runner-report"
    assert sorted(path.name for path in reports.iterdir()) == ["junit.xml", "report.html", "report.json"]
    assert [sync["name"] for sync in json.loads((reports / "report.json").read_text())["syncs"]] == [
        "activities",
        "health",
    ]
    assert "✅" in (job.directory / "summary").read_text()
    assert job.modes == {0o700, 0o600} and not job.secrets.exists()
    remaining = [
        path
        for path in job.directory.rglob("*")
        if path.is_file() and not path.is_relative_to(job.temporary / "sync-runner")
    ]
    for secret in (given["password"], given["totp_seed"]):
        assert secret not in job.err and all(secret not in path.read_text() for path in remaining)


def test_the_next_step_reads_what_the_jobs_gave(runner: Runner, tmp_path: Path) -> None:
    own = profile(tmp_path, results={"values": {"rows": {"at": "rows", "type": "integer"}, "note": "note"}})
    (tmp_path / "runner.yaml").write_text(f"profile: {own}\nsyncs: [nightly]\n")
    job = Job(tmp_path / "job")
    note = "two\nlines\nexit_code=9"
    with ScriptedApi(finished("completed", rows=12, note=note)) as api:
        job.uses(base_url=api.base_url, config=str(tmp_path / "runner.yaml"), **secrets_of(runner))
    assert job.code == 0, job.err
    outputs = job.outputs()
    assert (outputs["exit_code"], json.loads(outputs["results"])) == ("0", {"nightly": {"rows": 12, "note": note}})
    rows = str(json.loads(outputs["results"])["nightly"]["rows"])  # fromJSON(...).nightly.rows
    assert job.step('echo "$ROWS rows"', {"ROWS": rows}).stdout == "12 rows\n"


def test_a_failed_sync_fails_the_actions_step_and_the_secrets_go_all_the_same(runner: Runner, tmp_path: Path) -> None:
    runner.fault(kind="job_fails")
    (tmp_path / "runner.yaml").write_text("syncs: [health]\n")
    job = Job(tmp_path / "job")
    job.uses(base_url=runner.server.base_url, config=str(tmp_path / "runner.yaml"), **secrets_of(runner))
    assert job.code == 4
    assert job.outputs()["result"] == "failure" and job.outputs()["failed"] == "1"
    assert "::error title=default%3A health failed::" in job.err
    assert not job.secrets.exists()


HOSTILE = (
    {"syncs": "activities --base-url http://evil.example"},
    {"syncs": "health\n--secrets-dir=/tmp"},
    {"syncs": "--help"},
    {"syncs": "health;touch${IFS}run"},
    {"syncs": "$(touch run)"},
    {"syncs": '[{"type":"health"}]'},
    {"start": "-7d --base-url=http://evil.example"},
    {"start": "--base-url=http://evil.example"},
    {"end": "today\n--base-url=http://evil.example"},
    {"params": "--base-url=http://evil.example"},
    {"params": "a=1\n--set=base_url=http://evil.example"},
    {"config": "--base-url=http://evil.example"},
    {"base_url": "--help"},
)


@pytest.mark.parametrize("given", HOSTILE, ids=str)
def test_no_input_of_the_action_becomes_an_option_or_a_command(
    runner: Runner, tmp_path: Path, given: dict[str, str]
) -> None:
    """Each is refused, with code 2, before anything was sent anywhere."""
    job = Job(tmp_path / "job")
    with RecordingProxy(runner.server.base_url) as api:
        job.uses(**{"base_url": api.base_url, "syncs": "health", **secrets_of(runner), **given})
    assert job.code == 2, job.err
    assert api.exchanges == []
    assert not (job.directory / "run").exists()
    assert not job.secrets.exists()


def test_a_value_that_looks_like_an_option_stays_the_value_of_its_own(runner: Runner, tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    job.uses(base_url=runner.server.base_url, syncs="health", report_dir="--reports $(touch run)", **secrets_of(runner))
    assert job.code == 0, job.err
    assert (job.directory / "--reports $(touch run)" / "report.json").is_file()


@pytest.mark.parametrize("python", ["sh -c id", "sh", "python3 -c", "/bin/sh", "-m", "python3\nid", "$(id)"])
def test_the_interpreters_name_is_no_command_line(tmp_path: Path, python: str) -> None:
    (tmp_path / "_temp").mkdir()
    job = Job(tmp_path)
    done = job.step(ACTION["runs"]["steps"][0]["run"], {"PYTHON": python, "SOURCE": ".", "HOME_OF_RUNNER": "./home"})
    assert done.returncode == 2
    assert "name an interpreter" in done.stderr


def test_no_file_of_the_checked_out_repository_becomes_code_of_the_install(tmp_path: Path) -> None:
    job, source = Job(tmp_path / "repository"), tmp_path / "action"
    source.mkdir()
    for lock in ("requirements.lock", "requirements-build.lock"):
        (source / lock).touch()
    for name in ("venv", "pip", "calendar", "types", "logging"):
        (job.directory / f"{name}.py").write_text("raise SystemExit('code of the repository')")
    variables = {"PYTHON": "python3", "SOURCE": str(source), "HOME_OF_RUNNER": str(tmp_path / "home")}
    done = job.step(ACTION["runs"]["steps"][0]["run"], variables)
    assert "is not installable" in done.stderr  # of pip itself, about the empty source
    assert "code of the repository" not in done.stdout + done.stderr


def test_the_page_hands_the_action_what_it_takes() -> None:
    [text] = re.findall(r"^   ```yaml\n(.*?)^   ```$", PAGE, re.MULTILINE | re.DOTALL)
    workflow = yaml.safe_load(text)
    [first, stop, _upload] = workflow["jobs"]["sync"]["steps"]
    assert stop["if"] == f"failure() && steps.sync.outputs.exit_code == '{ExitCode.AUTHENTICATION:d}'"
    assert "`gh workflow enable sync.yml`" in PAGE
    required = {name for name, about in ACTION["inputs"].items() if about.get("required")}
    assert required <= first["with"].keys() <= ACTION["inputs"].keys()
    assert workflow["jobs"]["sync"]["timeout-minutes"] * 60 > (DeadlineSettings().run or 0)
    for name in ACTION["outputs"]:
        assert f"`{name}`" in PAGE
    done = subprocess.run(
        [BIN / "actionlint", "-"], input=re.sub("^   ", "", text, flags=re.MULTILINE), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def as_files(runner: Runner) -> dict[str, str]:
    """The variables with which GitLab and Jenkins name the files of secrets."""
    return {
        f"SYNC_RUNNER_{name.upper()}_FILE": str(runner.secrets / name) for name in ("username", "password", "totp_seed")
    }


def gitlab(directory: Path, names: dict[str, str], base_url: str, source: str = "schedule") -> int:
    """The exit code of the GitLab job in `directory`, as GitLab's executor runs it."""
    job = GITLAB[".sync-runner"]
    variables = {key: value for key, value in job["variables"].items() if key != "SYNC_RUNNER_IMAGE"}
    variables |= {"CI_PIPELINE_SOURCE": source, "CI_PIPELINE_ID": "17"}
    variables = {key: Template(value).safe_substitute(CI_PIPELINE_ID="17") for key, value in variables.items()}
    return shell(["sh", "-ec", "\n".join(job["script"])], directory, variables, names, base_url)


def jenkins(directory: Path, names: dict[str, str], base_url: str, source: str = "schedule") -> int:
    """The exit code of Jenkins' `sh` step in `directory`."""
    [block] = re.findall(r"environment \{\n(.*?)\n  \}", JENKINS, re.DOTALL)
    variables = dict(re.findall(r"^ +(\w+) = '(.*)'$", block, re.MULTILINE))
    variables |= {"SCHEDULED": "yes" if source == "schedule" else "no", "BUILD_TAG": "jenkins-sync-17"}
    [key] = re.findall(r'^ +SYNC_RUNNER_RUN__KEY = "\$\{env\.(\w+)\}"', JENKINS, re.MULTILINE)
    variables["SYNC_RUNNER_RUN__KEY"] = variables[key]
    [script] = re.findall(r"sh '''\n(.*?)'''", JENKINS, re.DOTALL)
    return shell(["sh", "-xe", "-c", textwrap.dedent(script)], directory, variables, names, base_url)


def shell(words: list[str], directory: Path, variables: dict[str, str], names: dict[str, str], base_url: str) -> int:
    """The exit code of a service's shell, with no more than the service gives it."""
    place = {"SYNC_RUNNER_BASE_URL": base_url, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=directory, env={**variables, **names, **place}, capture_output=True, text=True)
    print(done.stderr)
    return done.returncode


@pytest.mark.parametrize("service", [gitlab, jenkins])
def test_after_a_refused_login_the_schedule_sends_no_more_until_a_run_by_hand_has_logged_in(
    runner: Runner, tmp_path: Path, service: Callable[..., int]
) -> None:
    names = as_files(runner)
    password = (runner.secrets / "password").read_text()
    with RecordingProxy(runner.server.base_url) as api:
        (runner.secrets / "password").write_text("wrong")
        assert service(tmp_path, names, api.base_url) == 3
        refused = len(api.exchanges)
        (runner.secrets / "password").write_text(password)
        assert service(tmp_path, names, api.base_url) == 3
        assert service(tmp_path, names, api.base_url) == 3
        assert len(api.exchanges) == refused > 0
        assert service(tmp_path, names, api.base_url, source="web") == 0
        assert service(tmp_path, names, api.base_url) == 0


@pytest.mark.parametrize("service", [gitlab, jenkins])
def test_a_run_that_fails_for_another_reason_does_not_stop_the_schedule(
    runner: Runner, tmp_path: Path, service: Callable[..., int]
) -> None:
    soon = as_files(runner) | {"SYNC_RUNNER_RETRY__CONNECT_PATIENCE": "1"}
    assert service(tmp_path, soon, "http://127.0.0.1:1") == 7
    assert service(tmp_path, as_files(runner), runner.server.base_url) == 0


@pytest.mark.parametrize("service", [gitlab, jenkins])
def test_with_kept_state_a_job_that_is_tried_again_repeats_no_sync_that_completed(
    runner: Runner, tmp_path: Path, service: Callable[..., int]
) -> None:
    """The second of its three syncs fails in the first try."""
    runner.fault(kind="job_fails", sync_type="health")
    kept = as_files(runner) | {"SYNC_RUNNER_STATE__DIR": str(tmp_path / "state")}
    assert service(tmp_path, kept, runner.server.base_url) == 5
    assert service(tmp_path, kept, runner.server.base_url) == 0
    jobs = [row["sync_type"] for row in runner.server.sandbox.state.all("SELECT sync_type FROM jobs")]
    assert sorted(jobs) == ["activities", "health", "health", "workouts"]


def test_the_gitlab_job_is_green_and_its_artifacts_are_there(runner: Runner, tmp_path: Path) -> None:
    job = GITLAB[".sync-runner"]
    names = as_files(runner)
    assert all(name in PAGE for name in names)
    assert gitlab(tmp_path, names, runner.server.base_url) == 0
    for path in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert (tmp_path / path).is_file(), path
    parsed: Any = junitparser.JUnitXml.fromfile(str(tmp_path / job["artifacts"]["reports"]["junit"]))
    assert (parsed.tests, parsed.failures, parsed.errors) == (3, 0, 0)


def test_gitlab_tries_again_exactly_where_another_try_helps_and_leaves_the_runner_its_time() -> None:
    job = GITLAB[".sync-runner"]
    signals = {ExitCode.SIGINT, ExitCode.SIGTERM}  # a job that somebody cancelled stays so
    assert set(job["retry"]["exit_codes"]) == {code for code in ExitCode if code.retry_helps == "yes"} - signals
    assert parse_duration(job["timeout"].replace(" ", "")) > (DeadlineSettings().run or 0)


def test_the_jenkins_stage_is_green_and_its_artifacts_are_there(runner: Runner, tmp_path: Path) -> None:
    names = as_files(runner)
    assert set(re.findall(r"variable: '(\w+)'", JENKINS)) == set(names)
    assert jenkins(tmp_path, names, runner.server.base_url) == 0
    [junit] = re.findall(r"junit testResults: '(.*?)'", JENKINS)
    [artifacts] = re.findall(r"artifacts: '(.*)'", JENKINS)
    assert (tmp_path / junit).is_file()
    assert {path.name for path in tmp_path.glob(artifacts)} == {"sync-runner-report.json", "sync-runner-report.html"}
    [minutes] = re.findall(r"timeout\(time: (\d+), unit: 'MINUTES'\)", JENKINS)
    assert int(minutes) * 60 > (DeadlineSettings().run or 0)


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    for line in re.findall(r"uses: (.*)", path.read_text()):
        assert line.startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_workflows_test_every_python_that_the_package_names_and_call_targets_that_there_are() -> None:
    check = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert check["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    targets = set(
        re.findall(r"^([\w/.-]+):", (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv"), re.MULTILINE)
    )
    called = {name for path in WORKFLOWS for name in re.findall(r"(?:run: | {10})make ([\w/.-]+)", path.read_text())}
    assert called and called <= targets, called - targets
