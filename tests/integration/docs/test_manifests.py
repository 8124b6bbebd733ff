"""The Kubernetes manifests are valid, hardened, and agree with the exit codes and the settings model."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import SchemaNotFoundError

from runner.engine.fleet import configured
from runner.errors import ExitCode
from runner.sandbox.command import write_secrets
from runner.settings import load
from tests.support.manifests import COMPONENTS, CUSTOM, KUBECTL, NO_KUBECTL, ROOT, ROOTS, built, with_components

PAGE = (ROOT / "docs" / "deploy" / "kubernetes.md").read_text(encoding="utf-8")
# On one worker, which builds each overlay once.
pytestmark = [pytest.mark.skipif(not KUBECTL.exists(), reason=NO_KUBECTL), pytest.mark.xdist_group("manifests")]
VERSIONS = [f"1.{minor}" for minor in range(29, int(str(kubernetes_validate.latest_version()).split(".")[1]) + 1)]
SIGTERM_SECONDS = 8  # what the runner needs after SIGTERM at most (docs, Exit)


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


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
@pytest.mark.parametrize("names", [*((name,) for name in COMPONENTS), tuple(COMPONENTS)], ids="+".join)
def test_every_component_builds_alone_and_with_the_others_and_is_valid(names: tuple[str, ...], version: str) -> None:
    for one in with_components(*names):
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_components_add_to_the_pods_environment_and_take_nothing_from_each_other() -> None:
    (job,) = [one for one in with_components(*COMPONENTS) if one["kind"] == "CronJob"]
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in container["env"]} == {
        "SYNC_RUNNER_METRICS__PUSHGATEWAY__URL",
        "SYNC_RUNNER_RUN__KEY",
        "SYNC_RUNNER_STATE__DIR",
        "SYNC_RUNNER_STATE__KUBERNETES_SECRET",
        "SYNC_RUNNER_STATE__URL",
        "SYNC_RUNNER_STATE_PASSWORD_FILE",
    }


def test_the_fleet_on_postgresql_shares_no_volume_and_reaches_its_database() -> None:
    root = "overlays/fleet-postgresql"
    volumes = {one["name"]: one for one in pod_of(root)["volumes"]}
    assert volumes["state"] == {"name": "state", "emptyDir": {"sizeLimit": "64Mi"}}
    assert volumes["database"]["secret"]["optional"] is True
    assert "sync-runner-state" not in {one["metadata"]["name"] for one in of_kind(root, "PersistentVolumeClaim")}
    (policy,) = [one for one in of_kind(root, "NetworkPolicy") if one["metadata"]["name"] == "sync-runner"]
    assert any({"protocol": "TCP", "port": 5432} in rule["ports"] for rule in policy["spec"]["egress"])


def test_the_pods_token_may_read_and_change_the_one_secret_of_sessions_and_no_other() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one for one in with_components("token-secret")}
    pod = found["CronJob", "sync-runner"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    named = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    secret = named["SYNC_RUNNER_STATE__KUBERNETES_SECRET"]
    assert pod["automountServiceAccountToken"] is True
    (rule,) = found["Role", "sync-runner"]["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [secret],
        "verbs": ["get", "patch"],
    }
    binding = found["RoleBinding", "sync-runner"]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sync-runner"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"]}]
    assert ("Secret", secret) in found


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
    job = cron_job(root)["jobTemplate"]["spec"]
    rules = job["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert [rule["action"] for rule in rules[1:]] == ["FailIndex" if job.get("completionMode") else "FailJob"]
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
    tries = 1 + job.get("backoffLimit", job.get("backoffLimitPerIndex"))
    waits = sum(10 * 2**n for n in range(tries - 1))  # the Job controller's back-off: 10 s, 20 s, ...
    assert pod["terminationGracePeriodSeconds"] > SIGTERM_SECONDS
    assert job["activeDeadlineSeconds"] >= tries * (run + pod["terminationGracePeriodSeconds"]) + waits
    assert (pod["restartPolicy"], spec["concurrencyPolicy"]) == ("Never", "Forbid")
    assert job["podReplacementPolicy"] == "Failed"


def test_the_fleet_has_as_many_pods_as_shards_each_with_a_state_of_its_own() -> None:
    job, pod = cron_job("overlays/fleet")["jobTemplate"]["spec"], pod_of("overlays/fleet")
    variables = {one["name"]: one for one in pod["containers"][0]["env"]}
    assert job["completionMode"] == "Indexed"
    # One number, written once. At once: the deadline of the Job has room for the tries of one shard, not for one shard after another.
    assert int(variables["SYNC_RUNNER_SHARDS"]["value"]) == job["completions"] == job["parallelism"]
    assert "backoffLimit" not in job  # it would count the failures of all shards together
    index = variables["JOB_COMPLETION_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    (state,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "state"]
    assert "$(JOB_COMPLETION_INDEX)" in state["subPathExpr"]


@pytest.mark.parametrize("root", ROOTS)
def test_the_mounted_configuration_is_one_that_the_runner_takes(root: str, tmp_path: Path) -> None:
    settings = load({}, settings_file(root, tmp_path)).settings
    assert [sync.type for sync in settings.syncs] == ["activities", "health", "workouts"]
    container = pod_of(root)["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    read = {str(settings.secrets_dir)} | {str(one.secrets_dir.parent) for one in settings.accounts}
    assert mounts["credentials"] in read
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
        for secret in [
            volume.get("secret"),
            *(one["secret"] for one in volume.get("projected", {}).get("sources", [])),
        ]:
            assert (
                secret is None or secret["optional"] is True
            )  # the runner says what is missing; the kubelet only waits
        if "secret" in volume and root in ("overlays/dev", "overlays/external-secrets"):
            assert ("Secret", volume["secret"]["secretName"]) in made


def settings_file(root: str, directory: Path) -> Path:
    """The runner.yaml that the CronJob of a kustomization mounts."""
    name = next(volume["configMap"]["name"] for volume in pod_of(root)["volumes"] if "configMap" in volume)
    (found,) = [one for one in of_kind(root, "ConfigMap") if one["metadata"]["name"] == name]
    path = directory / "runner.yaml"
    path.write_text(found["data"]["runner.yaml"], encoding="utf-8")
    return path


def test_the_pages_script_makes_the_secrets_and_the_sources_of_the_fleet(tmp_path: Path) -> None:
    """kubectl is told to show what it would create: there is no cluster here."""
    (script,) = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    for name in ("anton", "berta"):
        write_secrets(tmp_path / "accounts" / name, {"username": name, "password": "p", "totp_seed": "s"})
    stand_in = tmp_path / "bin" / "kubectl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nexec {KUBECTL} "$@" --dry-run=client --output=yaml\n', encoding="utf-8")
    stand_in.chmod(0o755)
    path = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=path, capture_output=True, text=True, check=True)
    (credentials,) = [volume for volume in pod_of("overlays/fleet")["volumes"] if volume["name"] == "credentials"]
    made = [yaml.safe_load((tmp_path / name).read_text(encoding="utf-8")) for name in ("sources.yaml", "accounts.yaml")]
    assert made[0] == credentials["projected"]["sources"]
    (settings,) = of_kind("overlays/fleet", "ConfigMap")
    assert made[1] == yaml.safe_load(settings["data"]["runner.yaml"])["accounts"]
    assert done.stdout.count("kind: Secret") == 2
    assert [f"name: sync-runner-{name}" in done.stdout for name in ("anton", "berta")] == [True, True]


def test_the_pages_settings_are_ones_that_the_runner_takes(tmp_path: Path) -> None:
    (text,) = [
        text for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "base_url" in text
    ]
    (tmp_path / "runner.yaml").write_text(text, encoding="utf-8")
    settings = load({}, tmp_path / "runner.yaml").settings
    assert [len(one.syncs) for one in configured(settings)] == [3, 1]
