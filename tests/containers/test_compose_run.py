"""compose.run.yaml and its page: from nothing to a run by schedule, against a sandbox in place of one's own API."""

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.containers.engine import ROOT, RUNNER, Place, awaited, docker, json_lines, write_secrets

PAGE = (ROOT / "docs" / "deploy" / "compose.md").read_text(encoding="utf-8")
UNIT = (ROOT / "examples" / "systemd" / "sync-runner-compose.service").read_text(encoding="utf-8")
FILE = "--file compose.run.yaml"


class Own:
    """A directory of one's own, as the page makes it, and its Compose project."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory, self.place = directory, place
        self.project = f"sync-runner-{uuid.uuid4().hex[:8]}"
        examples = write_secrets(directory / "examples" / "compose" / "secrets", place.credentials)
        assert len(list(examples.iterdir())) == 3
        (directory / "compose.run.yaml").write_text((ROOT / "compose.run.yaml").read_text())
        network = {"default": {"name": place.network, "external": True}}
        (directory / "network.yaml").write_text(yaml.safe_dump({"networks": network}))

    def start(self, script: str) -> subprocess.Popen[str]:
        """The script in bash, with the sandbox in the API's place."""
        there = "base_url: http://sandbox:8001\ntls: { allow_http: true }"
        script = script.replace("base_url: https://sync.example.org", there)
        script = script.replace(FILE, f"{FILE} --file ../network.yaml").replace("/srv/sync-runner", "sync")
        environment = os.environ | {"COMPOSE_PROJECT_NAME": self.project, "SYNC_RUNNER_IMAGE": RUNNER}
        return subprocess.Popen(
            ["bash", "-euc", script], cwd=self.directory, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script: str) -> tuple[int, str]:
        """The exit code of the script, and all that it wrote."""
        process = self.start(script)
        out, err = process.communicate(timeout=120)
        print(out, err)
        return process.returncode, out + err

    def left(self, kind: str) -> list[str]:
        """The containers (`ps --all`) or volumes (`volume ls`) of the project."""
        return docker(
            *kind.split(), "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        ).stdout.split()


@pytest.fixture
def own(here: Place, tmp_path: Path) -> Iterator[Own]:
    """A directory without anything but the page's files; nothing is left of its project."""
    made = Own(tmp_path, here)
    yield made
    made.run(f"cd sync; docker compose {FILE} down --volumes --timeout 2")


def blocks() -> list[str]:
    """The page's `sh` blocks."""
    found: list[str] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 5
    return found


def test_the_page_leads_from_zero_to_a_green_run_and_leaves_only_the_state(own: Own) -> None:
    make, check, run, status, remove = blocks()
    assert own.run(make)[0] == 0
    code, written = own.run(check)
    assert code == 0 and "logged in with a one-time code" in written
    code, written = own.run(run)
    assert code == 0
    assert written.count('"result": "completed"') == 2
    assert '"method": "login"' not in written  # the session that `check` left is on the volume
    code, written = own.run(status)
    assert code == 0 and "activities" in written and "health" in written
    down, down_volumes = remove.rsplit("docker compose", 1)
    assert own.run(down)[0] == 0
    assert own.left("ps --all") == []
    assert len(own.left("volume ls")) == 1
    assert own.run(f"cd sync; docker compose{down_volumes}")[0] == 0
    assert own.left("volume ls") == []


def test_the_lines_for_the_schedule_run_and_a_wrong_password_is_their_exit_code(own: Own) -> None:
    make, check, *_ = blocks()
    assert own.run(make + check)[0] == 0
    [crontab] = re.findall(r"^```crontab\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert own.run(crontab.split(maxsplit=5)[5])[0] == 0
    [logged] = [
        line for line in (own.directory / "sync" / "sync.log").read_text().splitlines() if '"run.ended"' in line
    ]
    [ended] = json_lines(logged[logged.index("{") :])
    assert ended["exit_code"] == 0
    [command] = re.findall(r"^ExecStart=/usr/bin/(.*)$", UNIT, re.MULTILINE)
    assert command in crontab
    (own.directory / "sync" / "secrets" / "password").write_text("wrong")
    assert own.run(f"cd sync; docker compose {FILE} run --rm runner logout")[0] == 0
    assert own.run(f"cd sync; {command}")[0] == 3


def test_sigterm_to_the_schedules_command_reaches_the_runner_which_cancels_its_job(own: Own) -> None:
    make, check, *_ = blocks()
    assert own.run(make + check)[0] == 0
    own.place.admin("faults", {"kind": "job_stalls"})
    [command] = re.findall(r"^ExecStart=/usr/bin/(.*)$", UNIT, re.MULTILINE)
    process = own.start(f"cd sync; exec {command}")
    [container] = awaited("the container", lambda: own.left("ps --all"))
    awaited("a job that runs", lambda: '"status": "running"' in docker("logs", container).stderr)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "143"
    assert '"sync.cancel"' in docker("logs", container).stderr
