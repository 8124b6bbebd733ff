"""The commands of docs/operations for Docker: a volume is backed up, emptied, and restored."""

import re
import subprocess
from pathlib import Path

from tests.containers.engine import ROOT, RUNNER, Place, docker

PAGE = (ROOT / "docs" / "operations" / "backup.md").read_text(encoding="utf-8")


def test_a_volume_is_backed_up_and_restored_with_its_session(here: Place, volume: str, tmp_path: Path) -> None:
    back_up, restore = re.findall(r"^```docker\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    options = ("--volume", f"{volume}:/var/lib/sync-runner")
    assert here.run("run", "health", options=options).code == 0
    _shell(back_up, volume, tmp_path)
    emptied = docker("volume", "create").stdout.strip()
    try:
        _shell(restore, emptied, tmp_path)
        ended = here.run("run", "health", options=("--volume", f"{emptied}:/var/lib/sync-runner"))
        assert ended.code == 0, ended.told
        assert ended.events("session.reused") and not ended.events("session.started")
    finally:
        docker("volume", "rm", emptied)


def _shell(script: str, volume: str, directory: Path) -> None:
    script = script.replace("sync-state:", f"{volume}:").replace("sync-runner:dev", RUNNER)
    subprocess.run(["bash", "-euc", script], cwd=directory, check=True)
