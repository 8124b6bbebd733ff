"""The commands of docs/deploy/docker.md do what the page says."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.containers.engine import ROOT, docker

PAGE = ROOT / "docs" / "deploy" / "docker.md"


@pytest.fixture
def nothing_left(engine: None) -> Iterator[None]:
    """What the page's commands make is gone before and after, whatever becomes of them."""
    _take_away()
    yield
    _take_away()


def _take_away() -> None:
    docker("rm", "--force", "--volumes", "sync-sandbox", check=False)
    docker("network", "rm", "sync-demo", check=False)
    docker("volume", "rm", "sync-runner-state", check=False)


@pytest.mark.usefixtures("nothing_left")
def test_the_page_leads_from_zero_to_a_green_run_and_cleans_up() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    written = ""
    for block in blocks:
        done = subprocess.run(["bash", "-euc", block], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        written += done.stdout if "--report -" in block else ""
    assert [sync["outcome"] for sync in json.loads(written)["syncs"]] == ["completed"] * 3
    assert "sync-sandbox" not in docker("ps", "--all", "--format", "{{.Names}}").stdout
