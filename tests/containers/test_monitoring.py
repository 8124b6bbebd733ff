"""Compose's own Prometheus: what it holds after good, failed and interrupted runs, which alerts fire, what Grafana asks it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.containers.compose import Project
from tests.containers.engine import awaited, docker
from tests.integration.outputs.conftest import until
from tests.support.monitoring import MONITORING, Prometheus, quick_rules

JOB = "sync_runner"
ALL = ("activities", "health", "workouts")
FULL = ("run", "--force-full")  # else the later runs would find nothing left to sync
# The second health fails, the third workouts never ends.
FAULTS = ("kind=job_fails,sync_type=health,skip=1,times=1", "kind=job_stalls,sync_type=workouts,skip=2,times=1")


@pytest.fixture
def quick(project: Project, tmp_path: Path) -> Iterator[Project]:
    """The project with rules for runs that are due each second, faults in the sandbox, and no runner yet."""
    command = ["sandbox", "--host=0.0.0.0", "--mfa=none", "--kdf=fast", "--username=demo"]
    command += ["--password-file=/run/secrets/sandbox_password", *(f"--fault={fault}" for fault in FAULTS)]
    config = (MONITORING / "prometheus.yml").read_text()
    assert config.count("evaluation_interval: 15s") == 1
    files = {"prometheus.yml": config.replace("15s", "1s"), "rules.yaml": quick_rules()}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    services = {
        "sandbox": {"command": command},
        "prometheus": {"volumes": [f"{tmp_path / name}:/etc/prometheus/{name}:ro" for name in files]},
    }
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump({"services": services}))
    made = replace(project, files=(str(tmp_path / "quick.yaml"),))
    up = made.compose("up", "--build", "--detach", "--wait", "sandbox", "pushgateway", "prometheus")
    assert up.returncode == 0, up.stderr
    yield made


def run(project: Project, *types: str) -> int:
    """One run of the project's runner; what it logged is shown where the test fails."""
    done = project.compose("run", "--rm", "--build", "--no-deps", "runner", *FULL, *types)
    print(done.stderr)
    return done.returncode


def interrupted(project: Project, *types: str) -> int:
    """One run that is told to end once it watches a job."""
    name = f"{project.name}-interrupted"
    started = project.compose("run", "--detach", "--no-TTY", "--no-deps", "--name", name, "runner", *FULL, *types)
    assert started.returncode == 0, started.stderr
    try:
        awaited("a job that runs", lambda: '"status": "running"' in docker("logs", name).stderr)
        docker("stop", name)
        return int(docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout)
    finally:
        docker("rm", "--force", name)


def ended_with(prometheus: Prometheus, code: int) -> dict[str, float]:
    """Wait until the run that has ended is scraped; the last successes then."""
    prometheus.scraped_anew(JOB, code)
    return prometheus.last_successes(JOB)


def test_prometheus_holds_the_design_after_every_kind_of_run_and_its_alerts_fire(quick: Project) -> None:
    assert run(quick, *ALL) == 0
    prometheus = quick.prometheus()
    good = ended_with(prometheus, 0)
    assert sorted(good) == sorted(ALL)
    prometheus.holds_the_design(JOB)
    prometheus.answers_the_dashboard(JOB)

    assert run(quick, *ALL) == 5
    failed = ended_with(prometheus, 5)
    assert failed["health"] == good["health"]
    assert failed["activities"] > good["activities"] and failed["workouts"] > good["workouts"]
    prometheus.holds_the_design(JOB)
    prometheus.fires(("SyncRunnerNotSucceeded", "health"), ("SyncRunnerFailing", ""))

    assert interrupted(quick, "activities", "workouts") == 143
    ended = ended_with(prometheus, 143)
    assert (ended["health"], ended["workouts"]) == (failed["health"], failed["workouts"])
    prometheus.holds_the_design(JOB)
    prometheus.fires(("SyncRunnerNotSucceeded", "workouts"))
    failing = ("SyncRunnerFailing", "")
    until(lambda: True if failing not in prometheus.firing() else None, "end of the alert for a failing run")
