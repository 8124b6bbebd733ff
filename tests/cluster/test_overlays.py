"""Every overlay is taken by the API server, twice, where Pod Security enforces `restricted`; and `kubectl diff` is then clean."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import kubectl
from tests.support.manifests import K8S, built

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
# The definitions of the kinds of other projects, at a version of each, from their Go modules.
DEFINITIONS = {
    "github.com/external-secrets/external-secrets@v0.18.2": ["config/crds/bases/external-secrets.io_externalsecrets.yaml"],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ],
    "sigs.k8s.io/secrets-store-csi-driver@v1.5.3": [
        "config/crd/bases/secrets-store.csi.x-k8s.io_secretproviderclasses.yaml",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def definitions(nodes: None) -> None:
    """The kinds of other projects."""
    for module, files in DEFINITIONS.items():
        words = ["go", "mod", "download", "-json", module]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
        for file in files:
            kubectl("apply", "--server-side", "-f", Path(json.loads(done.stdout)["Dir"]) / file)


@pytest.fixture(params=OVERLAYS)
def applied(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An overlay that was applied twice."""
    overlay: Path = K8S / "overlays" / request.param
    (space,) = {one["metadata"]["namespace"] for one in built(f"overlays/{request.param}") if one["kind"] == "CronJob"}
    kubectl("delete", "namespace", space, "--ignore-not-found", "--wait")
    for _ in range(2):
        done = kubectl("apply", "--server-side", "--validate=strict", "-k", overlay)
        assert not done.stderr, done.stderr  # warnings: of Pod Security, or of a field that is going away
    yield overlay
    kubectl("delete", "namespace", space, "--wait=false")


def test_the_overlay_is_taken_twice_without_a_warning_and_leaves_no_difference(applied: Path) -> None:
    done = kubectl("diff", "--server-side", "-k", applied, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_components_of_the_prometheus_operator_fit_its_kinds(tmp_path: Path) -> None:
    for component in (K8S / "components" / "service-monitor", K8S / "monitoring"):
        done = kubectl("kustomize", component, check=False)
        assert done.returncode == 0, done.stderr
        kubectl(
            "apply",
            "--server-side",
            "--validate=strict",
            "--dry-run=server",
            "-n",
            "default",
            "-f",
            "-",
            given=done.stdout,
        )
