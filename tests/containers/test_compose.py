"""compose.yaml as a user starts it: the run's exit code, credentials from Compose secrets, Prometheus asked by its API."""

import time
from pathlib import Path

from tests.containers.compose import Project
from tests.containers.engine import ROOT, new_credentials, write_secrets

SERVICES = ("runner", "sandbox", "pushgateway", "prometheus")
EXAMPLE = ROOT / "examples" / "compose" / "secrets"


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
    prometheus = project.prometheus()
    prometheus.scraped_anew("sync_runner", 0)
    times = prometheus.last_successes("sync_runner")
    assert sorted(times) == ["activities", "health", "workouts"]
    assert all(began <= at <= time.time() for at in times.values())
    # Only the Pushgateway knows when something was pushed to it: this is where Prometheus has it from.
    pushed = prometheus.query('push_time_seconds{job="sync_runner", sync_type=""}')
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
