"""What loading takes, module by module: the smallest of several runs with `python -X importtime`."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT, command_of, log_in, runner, sandbox

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)")


def pictures(rounds: int) -> dict[str, Any]:
    """The modules that take longest by themselves, in ms: in the import floor, and in a run until its end."""
    here = runner()
    with tempfile.TemporaryDirectory() as name, sandbox(Path(name), "--mfa", "none") as place:
        log_in(here, place, "state")
        run = [str(here), "-X", "importtime", command_of(here), *place.options("state"), "run", "health"]
        floor = [str(here), "-X", "importtime", str(ROOT / "benchmarks" / "floor.py")]
        return {"floor": _longest(floor, rounds), "run": _longest(run, rounds)}


def _longest(command: list[str], rounds: int) -> list[tuple[str, float]]:
    least: dict[str, float] = {}
    for _ in range(rounds):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        for microseconds, module in _LINE.findall(told):
            least[module] = min(least.get(module, 1e9), int(microseconds) / 1000)
    whole = [("all modules", sum(least.values()))]
    return whole + sorted(least.items(), key=lambda item: -item[1])[:15]
