"""compose.yaml as a user starts it: the run's exit code, credentials from Compose secrets, Prometheus asked by its API."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import ROOT, awaited, docker, json_lines, new_credentials, write_secrets

SERVICES = ("runner", "sandbox", "pushgateway", "prometheus")
EXAMPLE = ROOT / "examples" / "compose" / "secrets"


@dataclass(frozen=True)
class Project:
    """One Compose project of its own name, on a free port."""

    name: str

    def compose(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`docker compose` with the words given."""
        surroundings = os.environ | {"PROMETHEUS_PORT": "0"} | environment
        return subprocess.run(
            ["docker", "compose", "--project-name", self.name, *words],
            capture_output=True, text=True, check=False, cwd=ROOT, env=surroundings,
        )  # fmt: skip

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """What a service wrote, each line a JSON object."""
        logged = docker("logs", self.compose("ps", "--all", "--quiet", service).stdout.strip())
        return json_lines(logged.stdout + logged.stderr)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Prometheus' answer to a query; empty while it is still starting."""
        address = self.compose("port", "prometheus", "9090").stdout.strip()
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except (urllib.error.URLError, ConnectionError):
            return []


@pytest.fixture
def project(engine: None) -> Iterator[Project]:
    """A project, and nothing left of it afterwards."""
    made = Project(f"sync-runner-{uuid.uuid4().hex[:8]}")
    yield made
    made.compose("down", "--volumes", "--timeout", "2")


def test_the_run_ends_with_code_0_and_prometheus_holds_each_last_success(project: Project) -> None:
    began = time.time()
    done = project.compose("up", "--build", "--exit-code-from", "runner")
    assert done.returncode == 0, done.stdout + done.stderr
    for service in SERVICES:
        assert project.log_lines(service), service
    written = done.stdout + done.stderr
    assert all(secret not in written for secret in credentials() if secret != "demo")

    # The run stopped everything a moment after its push. Both keep what they have, and go on with it.
    assert project.compose("start", "pushgateway", "prometheus").returncode == 0
    query = 'sync_runner_last_success_timestamp_seconds{job="sync_runner"}'
    found = awaited("Prometheus' first scrape", lambda: project.ask(query))
    times = {one["metric"]["sync_type"]: float(one["value"][1]) for one in found}
    assert sorted(times) == ["activities", "health", "workouts"]
    assert all(began <= at <= time.time() for at in times.values())
    # Only the Pushgateway knows when something was pushed to it: this is where Prometheus has it from.
    pushed = project.ask('push_time_seconds{job="sync_runner", sync_type=""}')
    assert len(pushed) == 1


def test_a_wrong_seed_ends_with_code_3_and_says_so(project: Project, tmp_path: Path) -> None:
    username, password, _ = credentials()
    wrong = {"username": username, "password": password, "totp_seed": new_credentials()["totp_seed"]}
    mounted = write_secrets(tmp_path / "wrong", wrong)
    done = project.compose("up", "--build", "--exit-code-from", "runner", RUNNER_SECRETS=str(mounted))
    assert done.returncode == 3, done.stdout + done.stderr
    refused = [line for line in project.log_lines("runner") if line["event"] == "session.failed"]
    assert len(refused) == 1
    assert "totp_seed" in refused[0]["error"]


def test_grafana_waits_for_its_profile(engine: None) -> None:
    listed = Project("any").compose("config", "--services").stdout.split()
    assert sorted(listed) == sorted(SERVICES)
    assert "grafana" in Project("any").compose("--profile", "grafana", "config", "--services").stdout.split()


def credentials() -> list[str]:
    return [(EXAMPLE / name).read_text(encoding="utf-8").strip() for name in ("username", "password", "totp_seed")]
