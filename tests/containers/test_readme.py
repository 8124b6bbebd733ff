"""What the README's first screen shows works: its docker run and its CronJob, against a sandbox in place of the API."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import ExitCode
from tests.containers.engine import ROOT, RUNNER, Place, docker, json_lines, kubernetes_layout, write_secrets

BASE_URL = "http://sandbox:8001"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_docker_run_of_the_readme_completes(here: Place, tmp_path: Path) -> None:
    (block,) = [
        text for text in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "docker run" in text
    ]
    volume = f"readme-{tmp_path.name}-{here.network}"
    run = block[block.index("docker run") :].replace("sync-state:", f"{volume}:").replace("sync-runner:dev", RUNNER)
    for path in write_secrets(tmp_path / "secrets", here.credentials).iterdir():
        path.chmod(0o600)  # as a user keeps them
    assert "https://sync.example.org" in run
    # The sandbox speaks plain http within its own network.
    there = f"{BASE_URL} --env SYNC_RUNNER_TLS__ALLOW_HTTP=true --network {here.network}"
    done = subprocess.run(
        ["bash", "-euc", run.replace("https://sync.example.org", there)], cwd=tmp_path, capture_output=True, text=True
    )
    docker("volume", "rm", volume, check=False)
    assert done.returncode == 0, done.stderr
    ended = [line for line in json_lines(done.stderr) if line["event"] == "sync.ended"]
    assert [line["result"] for line in ended] == ["completed"] * 3


def test_the_cron_job_of_the_readme_is_valid_and_its_pod_completes(here: Place, tmp_path: Path) -> None:
    import kubernetes_validate

    (text,) = [
        text for text in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "CronJob" in text
    ]
    job: dict[str, Any] = yaml.safe_load(text)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [code for code in ExitCode if code.retry_helps in ("no", "look first")]
    (container,) = pod["containers"]
    mount, kept = container["volumeMounts"]
    assert pod["volumes"] == [
        {"name": mount["name"], "secret": {"secretName": "sync-runner", "optional": True}},
        {"name": kept["name"], "persistentVolumeClaim": {"claimName": "sync-runner"}},
    ]
    group = pod["securityContext"]["fsGroup"]
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 0, group)
    (tmp_path / "state").chmod(0o2770)
    secret = kubernetes_layout(tmp_path / "secret", here.credentials)
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["SYNC_RUNNER_BASE_URL"] == "https://sync.example.org"
    variables |= {"SYNC_RUNNER_BASE_URL": BASE_URL, "SYNC_RUNNER_TLS__ALLOW_HTTP": "true"}
    options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    done = docker(
        *("run", "--rm", "--network", here.network, *options, "--volume", f"{secret}:{mount['mountPath']}:ro"),
        *("--group-add", str(group), "--volume", f"{tmp_path / 'state'}:{kept['mountPath']}"),
        *(RUNNER, *container["args"]),
        check=False,
    )
    assert container["image"] == "sync-runner:dev"
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["make demo", "make test", "docker run", "kind: CronJob"])
def test_the_first_screen_shows_it(command: str) -> None:
    assert command in "\n".join(README.splitlines()[:50])
