"""A namespace with the shipped base in it, and Jobs of its CronJob with what a case changes."""

import copy
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.judge import PASSWORD, USER, Case, Judge, seed_of
from tests.cluster.kube import HOST, apply, awaited, get, kubectl
from tests.support.manifests import Object, built

VOLUMES = Path("/var/lib/sync-runner-test-volumes")  # on this machine, which is every node's disk


def namespace(name: str) -> Object:
    """A namespace that enforces `restricted`."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(name: str, space: str, **files: str | None) -> Object:
    """An account's Secret; a file that is None is left out."""
    user = files.get("username") or USER
    content = {"username": user, "password": PASSWORD, "totp_seed": seed_of(user), **files}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": space},
        "stringData": {key: value for key, value in content.items() if value is not None},
    }  # fmt: skip


def volume(name: str, space: str, group: int = 65532) -> list[Object]:
    """A claim and its volume: a directory of this machine, empty and the same on every node. A hostPath knows no fsGroup; the
    directory belongs to the pod's group as a volume that knows it would."""
    path = VOLUMES / space / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    give(path, group)
    size = {"storage": "1Gi"}
    meta = {"name": f"{space}-{name}", "labels": {"sync-runner-test": space}}
    spec = {
        "capacity": size,
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "storageClassName": "",
        "hostPath": {"path": str(path)},
    }
    claim = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": meta["name"],
        "resources": {"requests": size},
    }
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": {**spec, "claimRef": {"namespace": space, "name": name}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": space}, "spec": claim},
    ]  # fmt: skip


def python_pod(name: str, space: str, code: str, *arguments: str, labels: dict[str, str] | None = None) -> Object:
    """A pod that holds `restricted` and runs a program in Python."""
    container = {
        "name": "python", "image": "sync-runner-sandbox:dev", "command": ["python", "-c", code, *arguments],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    context = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": context, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels or {}},
        "spec": spec,
    }


def give(volume: Path, group: int, user: int = -1) -> None:
    """A volume to a group, with all that is in it, as the kubelet does it for a pod's fsGroup; or to another user too."""
    for path in (volume, *volume.rglob("*")):
        os.chown(path, user, group)
        path.chmod(0o2770 if path.is_dir() else 0o660)


@dataclass(frozen=True)
class Pod:
    """What became of a pod: its phase, node, exit code, and what stands at `kubectl describe pod`."""

    name: str
    node: str
    phase: str
    code: int | None
    reason: str
    message: str


@dataclass
class Lab:
    """A namespace to start Jobs in, and the judge that they talk to."""

    space: str
    judge: Judge

    def prepare(self) -> None:
        """The base's objects without its CronJob, an account's Secret, and the way to the judge."""
        apply(namespace(self.space))
        objects = [copy.deepcopy(one) for one in built("base") if one["kind"] != "CronJob"]
        for one in objects:
            one["metadata"]["namespace"] = self.space
            if one["kind"] == "ConfigMap":
                one["metadata"]["name"] = "sync-runner"
        apply(*objects, secret("sync-runner", self.space), self.way("judge", HOST, 443, 449))

    def way(self, name: str, host: str, port: int, last: int | None = None) -> Object:
        """A NetworkPolicy that lets the runner out to an address."""
        rule = {
            "to": [{"ipBlock": {"cidr": f"{host}/32"}}],
            "ports": [{"protocol": "TCP", "port": port, "endPort": last or port}],
        }
        spec = {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "sync-runner"}},
            "policyTypes": ["Egress"],
            "egress": [rule],
        }
        meta = {"name": name, "namespace": self.space}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}

    def spec(
        self,
        case: Case,
        *,
        env: dict[str, str] | None = None,
        state: str = "",
        credentials: str = "sync-runner",
        node: str = "",
        hide: str = "",
        container: Object | None = None,
        pod: Object | None = None,
        **job: Any,
    ) -> Object:
        """The spec of the shipped Job, with a claim for its state, another Secret, another node, or an empty directory over
        the one to `hide`; `container`, `pod` and `job` replace fields; one that is None is left out."""
        (cron,) = [one for one in built("base") if one["kind"] == "CronJob"]
        spec: Object = copy.deepcopy(cron["spec"]["jobTemplate"]["spec"])
        spec = {key: value for key, value in {**spec, **job}.items() if value is not None}
        inner = spec["template"]["spec"]
        inner.update(pod or {})
        (only,) = inner["containers"]
        to = {
            "SYNC_RUNNER_BASE_URL": case.url,
            "SYNC_RUNNER_TLS__ALLOW_HTTP": "true",
            "SYNC_RUNNER_SYNCS": "activities,health",
        }
        only["env"] += [{"name": key, "value": value} for key, value in {**to, **(env or {})}.items()]
        only.update(container or {})
        if node:
            inner["nodeSelector"] = {"kubernetes.io/hostname": node}
        volumes = {one["name"]: one for one in inner["volumes"]}
        volumes["config"]["configMap"]["name"] = "sync-runner"
        volumes["credentials"]["secret"]["secretName"] = credentials
        if state:
            del volumes["state"]["emptyDir"]
            volumes["state"]["persistentVolumeClaim"] = {"claimName": state}
        if hide:
            inner["volumes"].append({"name": "hidden", "emptyDir": {}})
            only["volumeMounts"].append({"name": "hidden", "mountPath": hide})
        return spec

    def start(self, name: str, case: Case, **changes: Any) -> None:
        """Create a Job. What `changes` are: `spec`."""
        self.create(name, self.spec(case, **changes))

    def create(self, name: str, spec: Object) -> None:
        """Create a Job, in place of one that an earlier try of the test left."""
        meta = {"name": name, "namespace": self.space}
        job = yaml.safe_dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})
        words = ("create", "--validate=strict", "-f", "-")
        made = kubectl(*words, given=job, check=False)
        if "AlreadyExists" in made.stderr:
            kubectl("-n", self.space, "delete", "job", name, "--cascade=foreground")
            made = kubectl(*words, given=job)
        assert made.returncode == 0, made.stderr

    def cron(self, name: str, case: Case, cron: Object | None = None, **changes: Any) -> None:
        """Create a CronJob that is due every minute; `cron` replaces fields of it, `changes` of its Job."""
        (shipped,) = [copy.deepcopy(one) for one in built("base") if one["kind"] == "CronJob"]
        shipped["spec"] |= {
            "schedule": "* * * * *",
            **(cron or {}),
            "jobTemplate": {"spec": self.spec(case, **changes)},
        }
        shipped["metadata"] = {"name": name, "namespace": self.space}
        apply(shipped)

    def claim(self, name: str) -> str:
        """An empty volume; its name."""
        apply(*volume(name, self.space))
        return name

    def pods(self, job: str) -> list[Pod]:
        """The pods of a Job that are still there, oldest first."""
        found = get("pods", "-n", self.space, "-l", f"batch.kubernetes.io/job-name={job}")["items"]
        return [_pod(one) for one in sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"]))]

    def status(self, job: str) -> Object:
        """A Job's status."""
        found: Object = get("job", job, "-n", self.space)["status"]
        return found

    def conditions(self, job: str) -> dict[str, str]:
        """A Job's true conditions, each with its reason."""
        found = self.status(job).get("conditions", [])
        return {one["type"]: one.get("reason", "") for one in found if one["status"] == "True"}

    def ended(self, job: str, seconds: float = 300) -> dict[str, str]:
        """A Job's conditions once it is complete or failed."""

        def over() -> dict[str, str]:
            found = self.conditions(job)
            return found if found.keys() & {"Complete", "Failed"} else {}

        found: dict[str, str] = awaited(f"the end of Job {job}", over, seconds)
        return found

    def runs(self, job: str, node: str = "") -> Pod:
        """A Job's pod, once its process runs."""

        def started() -> Pod | None:
            return next((pod for pod in self.pods(job) if pod.phase == "Running" and node in ("", pod.node)), None)

        found: Pod = awaited(f"a running pod of Job {job}", started)
        return found

    def works(self, case: Case, jobs: int = 1) -> None:
        """Wait until so many jobs run at the API."""
        awaited(f"{jobs} jobs at {case.url}", lambda: len(case.running()) >= jobs)

    def log(self, pod: str) -> list[Object]:
        """A pod's log lines."""
        lines = kubectl("-n", self.space, "logs", pod).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def python(self, name: str, code: str, *arguments: str) -> str:
        """What a program in Python prints in a pod that the runner's NetworkPolicy holds for."""
        apply(python_pod(name, self.space, code, *arguments, labels={"app.kubernetes.io/name": "sync-runner"}))
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("-n", self.space, "wait", f"pod/{name}", succeeded, "--timeout=240s")
        return kubectl("-n", self.space, "logs", name).stdout

    def events(self, reason: str) -> list[str]:
        """The messages of this namespace's events of one reason."""
        found = get("events", "-n", self.space, "--field-selector", f"reason={reason}")["items"]
        return [str(one["message"]) for one in found]

    def remove(self, *, wait: bool) -> None:
        """Delete the namespace with all that is in it, and its volumes."""
        words = f"--wait={str(wait).lower()}"
        kubectl("delete", "namespace", self.space, "--ignore-not-found", words)
        kubectl("delete", "persistentvolume", "-l", f"sync-runner-test={self.space}", words)


def _pod(found: Object) -> Pod:
    status = found["status"]
    states = (status.get("containerStatuses") or [{}])[0].get("state", {})
    over = states.get("terminated", {})
    waiting = states.get("waiting", {}).get("reason", "")
    phase = "Terminating" if found["metadata"].get("deletionTimestamp") else status["phase"]
    return Pod(
        found["metadata"]["name"], found["spec"].get("nodeName", ""), phase, over.get("exitCode"),
        over.get("reason", waiting), over.get("message", "").strip(),
    )  # fmt: skip
