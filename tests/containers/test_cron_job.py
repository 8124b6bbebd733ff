"""The pod of the CronJob, as `docker run` can start it: same user, groups, mounts, limits and security options."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.engine import (
    ROOT,
    RUNNER,
    docker,
    json_lines,
    kubernetes_layout,
    last_successes,
    place,
    pushgateway_in,
)

KUBECTL = Path(sys.prefix) / "bin" / "kubectl"


def dev_overlay() -> list[dict[str, Any]]:
    done = subprocess.run([KUBECTL, "kustomize", ROOT / "k8s/overlays/dev"], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def as_docker_options(pod: dict[str, Any], objects: list[dict[str, Any]], directory: Path) -> list[str]:
    """What of the pod the engine is told: all that decides whether the runner can do its work."""
    about, container = pod["securityContext"], pod["containers"][0]
    options = ["--user", f"{about['runAsUser']}:{about['runAsGroup']}", "--group-add", str(about["fsGroup"])]
    context = container["securityContext"]
    options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
    options += [word for name in context["capabilities"]["drop"] for word in ("--cap-drop", name)]
    options += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges:true"]
    options += ["--memory", container["resources"]["limits"]["memory"].removesuffix("i").lower()]
    options += ["--stop-timeout", str(pod["terminationGracePeriodSeconds"])]
    for variable in container.get("env", []):
        options += ["--env", f"{variable['name']}={variable['value']}"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        options += _mounted(mount, volumes[mount["name"]], objects, directory, about["fsGroup"])
    return options


def _mounted(
    mount: dict[str, Any], volume: dict[str, Any], objects: list[dict[str, Any]], directory: Path, group: int
) -> list[str]:
    where = mount["mountPath"]
    if "emptyDir" in volume:
        size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
        return ["--tmpfs", f"{where}:size={size},gid={group},mode=2770"]
    kind, key = ("ConfigMap", "name") if "configMap" in volume else ("Secret", "secretName")
    name = volume["configMap" if kind == "ConfigMap" else "secret"][key]
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    data = found["data"] if kind == "ConfigMap" else decoded(found)
    path = kubernetes_layout(directory / volume["name"], data)
    if kind == "Secret":  # the kubelet gives the files to the pod's fsGroup, with the mode of the volume
        for file in path.resolve().glob("..2*/*"):
            file.chmod(volume["secret"]["defaultMode"])
            if os.geteuid() == 0:
                os.chown(file, 0, group)
    return ["--volume", f"{path}:{where}:ro"]


def decoded(secret: dict[str, Any]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


@pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl comes from a wheel, and there is one for Linux only")
@pytest.mark.usefixtures("images")
def test_the_pod_of_the_cron_job_completes_and_leaves_its_termination_message(tmp_path: Path) -> None:
    objects = dev_overlay()
    (job,) = [one for one in objects if one["kind"] == "CronJob"]
    (secret,) = [one for one in objects if one["kind"] == "Secret"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    message = tmp_path / "termination-log"
    message.touch()
    message.chmod(0o666)  # as the kubelet makes it
    with place(tmp_path / "place", credentials=decoded(secret)) as there, pushgateway_in(there) as gateway:
        done = docker(
            *("run", "--rm", "--network", there.network, *as_docker_options(pod, objects, tmp_path)),
            *("--volume", f"{message}:{pod['containers'][0]['terminationMessagePath']}"),
            *(RUNNER, *pod["containers"][0]["args"]),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(last_successes(there, gateway)) == ["activities", "health", "workouts"]
    assert [line["level"] for line in json_lines(done.stderr) if line["level"] != "info"] == []
    assert message.read_text(encoding="utf-8").startswith("code 0: every sync completed; 3 of 3")
    assert json.dumps(decoded(secret)["password"])[1:-1] not in done.stdout + done.stderr
