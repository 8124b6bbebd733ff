"""Every test here needs a cluster. Without a program to start one it is skipped and says so; where CI asks, that is a failure."""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.judge import Judge
from tests.cluster.kube import HOST, NAMED, PROGRAM, apply, cluster, environment, kubectl
from tests.cluster.lab import Lab
from tests.support.manifests import ROOT

HERE = Path(__file__).parent
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
IMAGES = {
    "runner": ("sync-runner:dev", "registry.example.org/sync-runner:0.1.0"),
    "sandbox": ("sync-runner-sandbox:dev",),
}
PUSHGATEWAY = "prom/pushgateway:v1.11.0"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this directory. A module's tests run in order on one worker; those in fixed namespaces share one."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(
                pytest.mark.xdist_group("page" if item.path.stem == "test_overlays" else item.path.stem[5:])
            )


@contextmanager
def one_at_a_time(factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of all workers."""
    with (factory.getbasetemp().parent / "cluster.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def nodes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cluster of two nodes with the images of this tree; kubectl finds it."""
    if not PROGRAM.exists():
        reason = f"no program to start a cluster: neither SYNC_RUNNER_CLUSTER ({NAMED}) nor {PROGRAM}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with one_at_a_time(tmp_path_factory):
        cluster("up", "2")
        os.environ.update(environment())
        for node in ("node-1", "node-2"):  # as a test that was killed may have left them
            kubectl("uncordon", node)
            kubectl("taint", "node", node, "node.kubernetes.io/out-of-service-", check=False)
        load_images()


def load_images() -> None:
    """Build both images and hand them to the nodes, where these do not have them yet."""
    loaded = {PUSHGATEWAY: _docker("image", "inspect", "--format", "{{.Id}}", PUSHGATEWAY)}
    for target, tags in IMAGES.items():
        _docker("build", "--quiet", "--network", "host", "--target", target, "--tag", tags[0], ".")
        for tag in tags:
            _docker("tag", tags[0], tag)
            loaded[tag] = _docker("image", "inspect", "--format", "{{.Id}}", tag)
    words = ("-n", "default", "get", "configmap", "sync-runner-test-images", "-o", "jsonpath={.data.loaded}")
    before = json.loads(kubectl(*words, check=False).stdout or "{}")
    for tag, number in loaded.items():
        if before.get(tag) != number:
            cluster("load", tag)
    meta = {"name": "sync-runner-test-images", "namespace": "default"}
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"loaded": json.dumps(loaded)}})


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def judge(nodes: None) -> Iterator[Judge]:
    """The API that the pods talk to."""
    with Judge(HOST, 443 + WORKER) as serving:
        yield serving


@pytest.fixture(scope="module")
def lab(judge: Judge, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A namespace for the tests of one module."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    made = Lab(name, judge)
    made.remove(wait=True)
    made.prepare()
    yield made
    made.remove(wait=False)
