"""The pod of a CronJob, as `docker run` can start it: same user, groups, mounts, limits and security options."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.containers.engine import ROOT, kubernetes_layout

KUBECTL = Path(sys.prefix) / "bin" / "kubectl"
Object = dict[str, Any]


def objects_of(overlay: str) -> list[Object]:
    """Every object of an overlay."""
    command = [str(KUBECTL), "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def pod_of(objects: list[Object]) -> Object:
    """The pod that the CronJob starts."""
    (job,) = [one for one in objects if one["kind"] == "CronJob"]
    pod: Object = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def decoded(secret: Object) -> dict[str, str]:
    """A Secret's values."""
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def as_docker_options(pod: Object, objects: list[Object], directory: Path, **fields: str) -> list[str]:
    """What of the pod the engine is told: all that decides whether the runner can do its work.

    `fields` are the values of variables that Kubernetes takes from the pod itself. A volume claim is a directory below
    `directory`, as the pod finds it: its group's, and kept for the next pod.
    """
    about, container = pod["securityContext"], pod["containers"][0]
    options = ["--user", f"{about['runAsUser']}:{about['runAsGroup']}", "--group-add", str(about["fsGroup"])]
    context = container["securityContext"]
    options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
    options += [word for name in context["capabilities"]["drop"] for word in ("--cap-drop", name)]
    options += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges:true"]
    options += ["--memory", container["resources"]["limits"]["memory"].removesuffix("i").lower()]
    options += ["--stop-timeout", str(pod["terminationGracePeriodSeconds"])]
    for variable in container.get("env", []):
        value = (
            variable["value"] if "value" in variable else {"SYNC_RUNNER_RUN__KEY": "job", **fields}[variable["name"]]
        )
        options += ["--env", f"{variable['name']}={value}"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        part = mount.get("subPathExpr", "")
        for name, value in fields.items():
            part = part.replace(f"$({name})", value)
        volume = volumes[mount["name"]]
        options += _mounted(mount["mountPath"], volume, part, objects, directory, about["fsGroup"])
    return options


def _mounted(where: str, volume: Object, part: str, objects: list[Object], directory: Path, group: int) -> list[str]:
    if "emptyDir" in volume:
        size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
        return ["--tmpfs", f"{where}:size={size},gid={group},mode=2777"]
    path = directory / volume["name"]
    if "persistentVolumeClaim" in volume:
        path = path / part
        path.mkdir(parents=True, exist_ok=True)
        _give(path, 0o2770, group)
        return ["--volume", f"{path}:{where}"]
    if not path.exists():
        kubernetes_layout(path, _files(volume, objects))
    kind = volume.get("secret") or volume.get("projected")
    if kind:  # the kubelet gives the files to the pod's fsGroup, with the mode of the volume
        for file in path.resolve().glob("..2*/**/*"):
            if file.is_file():
                _give(file, kind["defaultMode"], group)
    return ["--volume", f"{path}:{where}:ro"]


def _files(volume: Object, objects: list[Object]) -> dict[str, str]:
    def named(kind: str, name: str) -> Object:
        (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
        return found

    if "configMap" in volume:
        files: dict[str, str] = named("ConfigMap", volume["configMap"]["name"])["data"]
        return files
    if "secret" in volume:
        return decoded(named("Secret", volume["secret"]["secretName"]))
    return {
        item["path"]: decoded(named("Secret", source["secret"]["name"]))[item["key"]]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }


def _give(path: Path, mode: int, group: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 0, group)
