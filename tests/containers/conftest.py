"""Every test here needs an engine. Without one it is skipped and says so; where CI asks for them, that is a failure."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose import Project
from tests.containers.engine import RUNNER, SANDBOX, Place, docker, place, pushgateway_in

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this directory."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.containers)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """An engine that answers."""
    try:
        problem = docker("version", check=False).stderr.strip()
        answers = docker("info", check=False).returncode == 0
    except FileNotFoundError:
        problem, answers = "there is no `docker` command", False
    if answers:
        return
    reason = f"no container engine answers: {problem.splitlines()[-1] if problem else 'docker info failed'}"
    if os.environ.get("CI") or os.environ.get("SYNC_RUNNER_REQUIRE_CONTAINERS"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def images(engine: None) -> None:
    """Both images, built from this tree."""
    docker("build", "--network", "host", "--tag", RUNNER, "--target", "runner", ".")
    docker("build", "--network", "host", "--tag", SANDBOX, "--target", "sandbox", ".")


@pytest.fixture
def project(engine: None) -> Iterator[Project]:
    """A project of compose.yaml, and nothing left of it afterwards."""
    made = Project(f"sync-runner-{uuid.uuid4().hex[:8]}")
    yield made
    down = made.compose("--profile", "*", "down", "--volumes", "--timeout", "2")
    assert down.returncode == 0, down.stderr
    assert not docker("network", "ls", "--quiet", "--filter", f"name={made.name}").stdout  # an engine has about thirty


@pytest.fixture
def here(images: None, tmp_path: Path) -> Iterator[Place]:
    """A sandbox without faults, and a user for this test alone: a code that another test has used is refused."""
    with place(tmp_path / "place") as found:
        yield found


@pytest.fixture
def volume(engine: None) -> Iterator[str]:
    """An empty named volume."""
    name = docker("volume", "create").stdout.strip()
    yield name
    docker("volume", "rm", "--force", name)


@pytest.fixture
def pushgateway(here: Place) -> Iterator[str]:
    """A Pushgateway in the sandbox's network; its address."""
    with pushgateway_in(here) as address:
        yield address
