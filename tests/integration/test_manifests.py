"""The Kubernetes manifests are valid, hardened, and agree with the exit codes and the settings model."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import SchemaNotFoundError

from runner.errors import ExitCode
from runner.settings import load

K8S = Path(__file__).parents[2] / "k8s"
KUBECTL = Path(sys.prefix) / "bin" / "kubectl"
pytestmark = pytest.mark.skipif(
    not KUBECTL.exists(), reason="kubectl comes from a wheel, and there is one for Linux only"
)
ROOTS = ["base", *sorted(f"overlays/{path.name}" for path in (K8S / "overlays").iterdir())]
VERSIONS = [f"1.{minor}" for minor in range(29, int(str(kubernetes_validate.latest_version()).split(".")[1]) + 1)]
CUSTOM = {"ExternalSecret", "SecretProviderClass", "ServiceMonitor"}
SIGTERM_SECONDS = 8  # what the runner needs after SIGTERM at most (docs, Exit)


@cache
def built(root: str) -> tuple[dict[str, Any], ...]:
    """Every object of a kustomization, as `kubectl apply -k` would send it."""
    done = subprocess.run([KUBECTL, "kustomize", K8S / root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of deprecated fields there
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(root: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in built(root) if one["kind"] == kind]


def cron_job(root: str) -> dict[str, Any]:
    (found,) = of_kind(root, "CronJob")
    spec: dict[str, Any] = found["spec"]
    return spec


def pod_templates(root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in built(root):
        if one["kind"] == "CronJob":
            yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]
        elif one["kind"] in ("Deployment", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]


def pod_of(root: str) -> dict[str, Any]:
    pod: dict[str, Any] = cron_job(root)["jobTemplate"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("root", ROOTS)
def test_every_object_is_valid_in_strict_mode(root: str, version: str) -> None:
    for one in built(root):
        if one["kind"] in CUSTOM:
            with pytest.raises(SchemaNotFoundError):
                kubernetes_validate.validate(one, version, strict=True)
        else:
            kubernetes_validate.validate(one, version, strict=True)


def test_the_components_are_valid_too() -> None:
    for path in (K8S / "components").glob("*/*.yaml"):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if one["kind"] not in CUSTOM | {"Component"}:
                kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("root", ROOTS)
def test_every_pod_holds_the_restricted_level(root: str) -> None:
    """The rules of the Pod Security Standards, level restricted, and a read-only root besides."""
    for name, template in pod_templates(root):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
        assert all(set(volume) - {"name"} <= allowed | {"secret"} for volume in pod["volumes"]), name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert not {"privileged", "procMount", "runAsUser", "seccompProfile"} & context.keys(), name
            assert all("hostPort" not in port for port in container.get("ports", [])), name
            assert container["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("root", ROOTS)
def test_no_pod_gets_a_token_of_the_cluster_or_variables_of_its_services(root: str) -> None:
    for name, template in pod_templates(root):
        assert template["spec"]["automountServiceAccountToken"] is False, name
        assert template["spec"]["enableServiceLinks"] is False, name
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(root, "ServiceAccount"))


@pytest.mark.parametrize("root", ROOTS)
def test_every_pod_has_a_network_policy_for_both_directions(root: str) -> None:
    policies = [one["spec"] for one in of_kind(root, "NetworkPolicy")]
    for name, template in pod_templates(root):
        labels = template["metadata"]["labels"].items()
        mine = [one for one in policies if one["podSelector"]["matchLabels"].items() <= labels]
        assert mine, name
        assert set(mine[0]["policyTypes"]) == {"Ingress", "Egress"}, name


@pytest.mark.parametrize("root", ROOTS)
def test_the_job_fails_at_once_exactly_where_another_try_can_not_help(root: str) -> None:
    rules = cron_job(root)["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert [rule["action"] for rule in rules[1:]] == ["FailJob"]
    on = rules[1]["onExitCodes"]
    assert on["operator"] == "In"
    assert on["values"] == [int(code) for code in ExitCode if code.retry_helps in ("no", "look first")]
    assert on["containerName"] in {container["name"] for container in pod_of(root)["containers"]}


@pytest.mark.parametrize("root", ROOTS)
def test_every_try_fits_into_the_deadline_of_the_job(root: str, tmp_path: Path) -> None:
    spec = cron_job(root)
    job, pod = spec["jobTemplate"]["spec"], pod_of(root)
    run = load({}, settings_file(root, tmp_path)).settings.deadline.run
    assert run is not None
    tries = 1 + job["backoffLimit"]
    waits = sum(10 * 2**n for n in range(job["backoffLimit"]))  # the Job controller's back-off: 10 s, 20 s, ...
    assert pod["terminationGracePeriodSeconds"] > SIGTERM_SECONDS
    assert job["activeDeadlineSeconds"] >= tries * (run + pod["terminationGracePeriodSeconds"]) + waits
    assert (pod["restartPolicy"], spec["concurrencyPolicy"]) == ("Never", "Forbid")
    assert job["podReplacementPolicy"] == "Failed"


@pytest.mark.parametrize("root", ROOTS)
def test_the_mounted_configuration_is_one_that_the_runner_takes(root: str, tmp_path: Path) -> None:
    settings = load({}, settings_file(root, tmp_path)).settings
    assert [sync.type for sync in settings.syncs] == ["activities", "health", "workouts"]
    container = pod_of(root)["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(settings.secrets_dir) == mounts["credentials"]
    assert mounts["state"] == "/var/lib/sync-runner"
    assert container["args"] == ["run", "--config", f"{mounts['config']}/runner.yaml"]
    assert container["terminationMessagePath"] == str(settings.report.termination_log)


@pytest.mark.parametrize("root", ROOTS)
def test_what_the_pod_mounts_is_there_or_is_the_credentials(root: str) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in built(root)}
    made |= {("Secret", one["spec"]["target"]["name"]) for one in of_kind(root, "ExternalSecret")}
    for volume in pod_of(root)["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in made
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in made
        if "csi" in volume:
            assert ("SecretProviderClass", volume["csi"]["volumeAttributes"]["secretProviderClass"]) in made
        if "secret" in volume and root in ("overlays/dev", "overlays/external-secrets"):
            assert ("Secret", volume["secret"]["secretName"]) in made


def settings_file(root: str, directory: Path) -> Path:
    """The runner.yaml that the CronJob of a kustomization mounts."""
    name = next(volume["configMap"]["name"] for volume in pod_of(root)["volumes"] if "configMap" in volume)
    (found,) = [one for one in of_kind(root, "ConfigMap") if one["metadata"]["name"] == name]
    path = directory / "runner.yaml"
    path.write_text(found["data"]["runner.yaml"], encoding="utf-8")
    return path
