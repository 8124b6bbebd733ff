"""The objects of the shipped kustomizations, as `kubectl apply -k` sends them."""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
KUBECTL = Path(sys.prefix) / "bin" / "kubectl"
ROOTS = ["base", *sorted(f"overlays/{path.name}" for path in (K8S / "overlays").iterdir())]
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
CUSTOM = {"ExternalSecret", "PrometheusRule", "SecretProviderClass", "ServiceMonitor"}  # kinds of other projects
NO_KUBECTL = "kubectl comes from a wheel, and there is one for Linux only"

Object = dict[str, Any]


@cache
def built(root: str) -> tuple[Object, ...]:
    """Every object of a kustomization below k8s/."""
    return objects_of(K8S / root)


@cache
def with_components(*names: str) -> tuple[Object, ...]:
    """The base with these components, as an overlay of one's own would have it."""
    with tempfile.TemporaryDirectory() as directory:
        there = Path(os.path.relpath(K8S, Path(directory).resolve()))
        wanted = {
            "resources": [str(there / "base")],
            "components": [str(there / "components" / name) for name in names],
        }
        (Path(directory) / "kustomization.yaml").write_text(yaml.safe_dump(wanted), encoding="utf-8")
        return objects_of(Path(directory))


def objects_of(directory: Path) -> tuple[Object, ...]:
    """Every object of the kustomization in this directory. Fails where kustomize warns."""
    done = subprocess.run([KUBECTL, "kustomize", directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of deprecated fields there
    return tuple(yaml.safe_load_all(done.stdout))
