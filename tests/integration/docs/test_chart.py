"""The Helm chart gives the same objects as the kustomizations, and says no to values that it does not know."""
# Decision 0075.

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runner.settings import load
from tests.integration.docs.test_manifests import VERSIONS
from tests.support.manifests import CUSTOM, ROOT, built, with_components

CHART = ROOT / "charts" / "sync-runner"
HELM = shutil.which("helm", path=f"{ROOT / 'build'}{os.pathsep}{os.environ['PATH']}")
OF_HELM = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart", "helm.sh/resource-policy")
LAST_SUCCESS = [{"type": kind, "start": "last-success"} for kind in ("activities", "health", "workouts")]
VOLUMES = {"pushgateway": {"enabled": True, "volume": {"enabled": True}}, "state": {"volume": {"enabled": True}}}
RELEASED = {"image": {"repository": "registry.example.org/sync-runner"}}
PRODUCTION: dict[str, Any] = {**VOLUMES, **RELEASED, "config": {"syncs": LAST_SUCCESS}}
FLEET: dict[str, Any] = {
    **VOLUMES,
    **RELEASED,
    "state": {"volume": {"enabled": True, "size": "1Gi"}},
    "shards": 4,
    "accounts": [{"name": "anton"}, {"name": "berta"}],
    "config": {
        "syncs": LAST_SUCCESS,
        "limits": {"accounts": 50, "connections": 10},
        "metrics": {"pushgateway": {"timeout": "5s"}},
    },
}
PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
DEV: dict[str, Any] = {"image": {"repository": "sync-runner", "tag": "dev"}}
OVERLAYS: dict[str, dict[str, Any]] = {
    "base": DEV,
    "overlays/production": PRODUCTION,
    "overlays/fleet": FLEET,
    "overlays/fleet-postgresql": {**FLEET, "state": {"postgresql": {"enabled": True}}},
    "overlays/external-secrets": {**PRODUCTION, "externalSecrets": {"enabled": True}},
}
COMPONENTS: dict[tuple[str, ...], dict[str, Any]] = {
    ("private-network",): {"networkPolicy": {"privateRanges": PRIVATE}},
    ("token-secret",): {"state": {"tokenSecret": {"enabled": True}}},
    ("postgresql",): {"state": {"postgresql": {"enabled": True}}},
    ("pushgateway", "service-monitor", "../monitoring"): {
        "pushgateway": {"enabled": True}, "serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def helm() -> str:
    """The command. Without it the tests are skipped, but fail where CI says that all tools are there."""
    if HELM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("helm is not installed: `make build/helm` builds it")
    return HELM


def template(helm: str, values: dict[str, Any], release: str = "sync-runner") -> subprocess.CompletedProcess[str]:
    """What `helm template` says."""
    words = [helm, "template", release, str(CHART), "--kube-version", VERSIONS[-1], "--skip-tests", "--values", "-"]
    return subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, check=False)


def objects(helm: str, values: dict[str, Any], release: str = "sync-runner") -> list[dict[str, Any]]:
    """What the chart makes of these values."""
    done = template(helm, values, release)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def comparable(found: Any) -> dict[tuple[str, str], Any]:
    """Objects by kind and name, without what Helm or kustomize alone adds: names with a hash, namespaces, labels of a release."""
    made = {}
    for one in found:
        kind, meta = one["kind"], one["metadata"]
        if kind == "Namespace":
            continue
        meta.pop("namespace", None)
        if kind == "ConfigMap":
            meta["name"] = "sync-runner"
            one["data"]["runner.yaml"] = yaml.safe_load(one["data"]["runner.yaml"])
            one["data"]["runner.yaml"]["syncs"] = [
                {"type": sync} if isinstance(sync, str) else sync for sync in one["data"]["runner.yaml"]["syncs"]
            ]
        meta.get("labels", {}).pop("app.kubernetes.io/part-of", None)
        meta.get("labels", {}).pop(
            "app.kubernetes.io/name", None
        )  # kustomize leaves it out where nothing selects by it
        made[kind, meta["name"]] = plain(one)
    return made


def plain(value: Any) -> Any:
    """Without Helm's own labels, without empty mappings, and with lists in an order of their own."""
    if isinstance(value, dict):
        kept = {key: plain(one) for key, one in value.items() if key not in OF_HELM}
        if "volumes" in kept:
            for volume in kept["volumes"]:
                if "configMap" in volume:
                    volume["configMap"]["name"] = "sync-runner"
        return {key: one for key, one in kept.items() if one != {}}
    if isinstance(value, list):
        return sorted((plain(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value


def kustomized(found: tuple[dict[str, Any], ...]) -> dict[tuple[str, str], Any]:
    """Objects of a kustomization, under the names that the chart gives them: several releases may share a namespace."""
    text = json.dumps(found)
    for ours, charts in (
        ('"pushgateway"', '"sync-runner-pushgateway"'),
        ("http://pushgateway:", "http://sync-runner-pushgateway:"),
    ):
        text = text.replace(ours, charts)
    text = text.replace(
        '"app.kubernetes.io/name": "sync-runner-pushgateway"', '"app.kubernetes.io/name": "pushgateway"'
    )
    objects = json.loads(text)
    for one in objects:
        if one["kind"] == "Deployment":  # the container keeps its name
            one["spec"]["template"]["spec"]["containers"][0]["name"] = "pushgateway"
        if one["kind"] == "ConfigMap":  # as is the key of the settings
            one["data"]["runner.yaml"] = one["data"]["runner.yaml"].replace("sync-runner-pushgateway:", "pushgateway:")
    return comparable(objects)


@pytest.mark.parametrize("root", OVERLAYS)
def test_the_chart_gives_the_objects_of_the_overlay(helm: str, root: str) -> None:
    charts, ours = comparable(objects(helm, OVERLAYS[root])), kustomized(built(root))
    assert charts.keys() == ours.keys()
    for key, one in ours.items():
        assert charts[key] == one, key


@pytest.mark.parametrize("names", COMPONENTS, ids="+".join)
def test_the_chart_gives_the_objects_of_the_components(helm: str, names: tuple[str, ...]) -> None:
    charts, ours = comparable(objects(helm, {**DEV, **COMPONENTS[names]})), kustomized(with_components(*names))
    assert charts.keys() == ours.keys()
    for key, one in ours.items():
        assert charts[key] == one, key


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_all_of_it_is_valid_and_holds_two_releases_of_any_name_apart(helm: str, version: str) -> None:
    every = {
        **FLEET,
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "externalSecrets": {"enabled": True},
    }
    names: list[set[tuple[str, str]]] = []
    for release in ("eu", "sync-runner-us"):
        found = objects(helm, every, release)
        for one in found:
            if one["kind"] not in CUSTOM:
                kubernetes_validate.validate(one, version, strict=True)
            selector = one["spec"].get("podSelector", one["spec"].get("selector", {})) if "spec" in one else {}
            labels = selector.get("matchLabels", selector)
            assert not labels or labels["app.kubernetes.io/instance"] == release, one
        names.append({(one["kind"], one["metadata"]["name"]) for one in found})
    assert not names[0] & names[1]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"config": {"bse_url": "x"}}, "bse_url"),
        ({"config": {"deadline": {"rn": "1m"}}}, "rn"),
        ({"shcedule": "@daily"}, "shcedule"),
        ({"schedule": "every day"}, "/schedule"),
        ({"accounts": [{"nmae": "anton"}]}, "nmae"),
        ({"accounts": [{"name": "a/b"}]}, "/accounts/0/name"),
        ({"terminationGracePeriodSeconds": 5}, "terminationGracePeriodSeconds"),
        ({"shards": 4}, "shards: there are no `accounts` to share"),
        ({"accounts": [{"name": "a"}], "config": {"secrets_dir": "/x"}}, "config.secrets_dir: `accounts` is set"),
        ({"accounts": [{"name": "a"}], "state": {"tokenSecret": {"enabled": True}}}, "state.tokenSecret"),
        ({"serviceMonitor": {"enabled": True}}, "set pushgateway.enabled"),
        ({"state": {"postgresql": {"enabled": True, "url": "mysql://db"}}}, "/state/postgresql/url"),
        (
            {"state": {"postgresql": {"enabled": True}, "tokenSecret": {"enabled": True}}},
            "state.postgresql, state.tokenSecret",
        ),
    ],
    ids=lambda part: json.dumps(part) if isinstance(part, dict) else "",
)
def test_a_value_that_it_does_not_know_is_refused_by_name(helm: str, values: dict[str, Any], told: str) -> None:
    done = template(helm, values)
    assert done.returncode != 0
    assert told in done.stderr


def test_an_account_may_have_a_secret_and_syncs_of_its_own(helm: str, tmp_path: Path) -> None:
    account = {"name": "anton", "secretName": "from-elsewhere", "syncs": ["health"]}
    found = {one["kind"]: one for one in objects(helm, {"accounts": [account, {"name": "berta"}]})}
    (tmp_path / "runner.yaml").write_text(found["ConfigMap"]["data"]["runner.yaml"], encoding="utf-8")
    anton, berta = load({}, tmp_path / "runner.yaml").settings.accounts
    assert anton.syncs is not None and [sync.type for sync in anton.syncs] == ["health"]
    assert (str(anton.secrets_dir), str(berta.secrets_dir)) == tuple(
        f"/run/secrets/sync-runner/{name}" for name in ("anton", "berta")
    )
    volumes = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    (credentials,) = [volume for volume in volumes if volume["name"] == "credentials"]
    assert [one["secret"]["name"] for one in credentials["projected"]["sources"]] == [
        "from-elsewhere", "sync-runner-berta",
    ]  # fmt: skip


def test_helm_finds_no_fault_in_the_chart(helm: str) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_follow_the_schedule_and_the_names_of_the_release(helm: str) -> None:
    values = {
        "prometheusRule": {"enabled": True, "intervalSeconds": 86400},
        "config": {"metrics": {"pushgateway": {"job": "nightly"}}},
    }
    (rule,) = [one for one in objects(helm, values, "eu") if one["kind"] == "PrometheusRule"]
    rules = [one for group in rule["spec"]["groups"] for one in group["rules"]]
    schedules = [one for one in rules if one.get("record") == "sync_runner:schedule_seconds"]
    assert schedules == [
        {"record": "sync_runner:schedule_seconds", "expr": "vector(86400)", "labels": {"job": "nightly"}}
    ]
    named = [one for one in rules if "sync-runner" in one["expr"]]
    assert named and all('=~"eu-sync-runner.*"' in one["expr"] for one in named)
