"""The profile `alerts` of compose.yaml: a refused login goes through Prometheus and Alertmanager to the receiver."""

from dataclasses import replace
from pathlib import Path

import yaml

from tests.containers.compose import Project
from tests.containers.engine import ROOT, awaited, docker, new_credentials, write_secrets
from tests.support.monitoring import MONITORING, quick_rules

# Debian's Alertmanager where the image that compose.yaml names would be: no registry is needed.
STAND_IN = """\
FROM python:3.13-slim-trixie
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends prometheus-alertmanager \\
 && ln -s /usr/bin/prometheus-alertmanager /bin/alertmanager
USER nobody
"""
SERVICES = ("sandbox", "pushgateway", "prometheus", "alertmanager", "receiver")
# What the images of others declare as a volume (read in their Dockerfiles): left alone, each start makes an anonymous one.
DECLARED = {"prom/prometheus": "/prometheus", "prom/alertmanager": "/alertmanager"}


def with_alertmanager(project: Project, directory: Path) -> Project:
    """The project with the stand-in, and rules and routes that do not wait."""
    (directory / "Dockerfile").write_text(STAND_IN)
    config = (MONITORING / "prometheus.yml").read_text().replace("evaluation_interval: 15s", "evaluation_interval: 1s")
    routes = (MONITORING / "alertmanager.yml").read_text().replace("group_wait: 30s", "group_wait: 0s")
    for name, text in {"prometheus.yml": config, "rules.yaml": quick_rules(), "alertmanager.yml": routes}.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    services = {
        "alertmanager": {
            "image": "sync-runner-alertmanager:test",
            "build": {"context": str(directory), "network": "host"},
            "volumes": [f"{directory / 'alertmanager.yml'}:/etc/alertmanager/alertmanager.yml:ro"],
            "ports": [],
        },
        "prometheus": {
            "volumes": [f"{directory / name}:/etc/prometheus/{name}:ro" for name in ("prometheus.yml", "rules.yaml")]
        },
    }
    (directory / "stand-in.yaml").write_text(yaml.safe_dump({"services": services}))
    return replace(project, files=(str(directory / "stand-in.yaml"),))


def test_a_refused_login_is_delivered_to_the_receiver_with_the_accounts_name(project: Project, tmp_path: Path) -> None:
    made = with_alertmanager(project, tmp_path)
    environment = {"ALERTMANAGER_PORT": "0"}
    up = made.compose("--profile", "alerts", "up", "--build", "--detach", "--wait", *SERVICES, **environment)
    assert up.returncode == 0, up.stderr
    wrong = {**new_credentials(), "username": "demo"}
    secrets = write_secrets(tmp_path / "wrong", wrong)
    run = made.compose("run", "--rm", "--build", "--no-deps", "runner", "run", "health", RUNNER_SECRETS=str(secrets))
    assert run.returncode == 3, run.stderr

    def delivered() -> list[dict[str, object]]:
        lines = made.log_lines("receiver")
        return [line for line in lines if line["labels"]["alertname"] == "SyncRunnerLoginRefused"]

    [alert] = awaited("the alert at the receiver", delivered)
    assert alert["status"] == "firing"
    assert alert["labels"]["account"] == "default"
    assert made.compose("--profile", "alerts", "ps", "--all", "--quiet").stdout.split()
    for container in made.compose("--profile", "alerts", "ps", "--all", "--quiet").stdout.split():
        assert anonymous_volumes(container) == []


def test_no_anonymous_volume_stays_after_a_demo(project: Project) -> None:
    """Of none of the containers: Compose's `down` would leave it behind."""
    assert project.compose("up", "--build", "--exit-code-from", "runner").returncode == 0
    containers = project.compose("ps", "--all", "--quiet").stdout.split()
    assert len(containers) == 4
    assert [volume for container in containers for volume in anonymous_volumes(container)] == []


def test_what_other_images_declare_as_a_volume_is_mounted_over() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for service in services.values():
        declared = DECLARED.get(service["image"].partition(":")[0])
        assert declared is None or declared in service["tmpfs"]


def anonymous_volumes(container: str) -> list[str]:
    """The names of the volumes that the container uses."""
    listing = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    return docker("inspect", "--format", listing, container).stdout.split()
