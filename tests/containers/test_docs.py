"""The commands of docs/deploy/docker.md do what the page says."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.containers.engine import ROOT, docker

PAGE = ROOT / "docs" / "deploy" / "docker.md"


def _swarm() -> str:
    return docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip()


@pytest.fixture
def nothing_left(engine: None) -> Iterator[None]:
    """What the page's commands make is gone before and after, whatever becomes of them."""
    assert _swarm() == "inactive", "this engine is part of a swarm, which the page would leave"
    _take_away()
    yield
    _take_away()


def _take_away() -> None:
    if _swarm() == "active":
        docker("service", "rm", "sync", check=False)
        docker("swarm", "leave", "--force")
    docker("rm", "--force", "--volumes", "sync-sandbox", check=False)
    docker("network", "rm", "sync-demo", check=False)
    for left in docker("ps", "--all", "--quiet", "--filter", "volume=sync-runner-state").stdout.split():
        docker("rm", "--force", left)
    docker("volume", "rm", "sync-runner-state", check=False)


@pytest.mark.alone  # to leave a swarm cuts off containers that are just being started
@pytest.mark.usefixtures("nothing_left")
def test_the_page_leads_from_zero_to_a_green_run_and_cleans_up() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    written: dict[str, str] = {}
    for block in blocks:
        done = subprocess.run(["bash", "-euc", block], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        written[block] = done.stdout + done.stderr
    by_file, from_variables, in_swarm = (written[block] for block in blocks[2:5])
    assert by_file.count('"outcome": "completed"') == 3
    assert from_variables.count('"event": "secret.warning"') == 3
    assert from_variables.count('"result": "completed"') == 1
    assert in_swarm.count('"result": "completed"') == 3
    assert '"exit_code": 0' in in_swarm
    assert "sync-sandbox" not in docker("ps", "--all", "--format", "{{.Names}}").stdout
    assert _swarm() == "inactive"
