"""What loading takes, module by module and package by package: the smallest of several runs with `python -X importtime`.

And where a run's time goes, by pyinstrument: before the work on speed, and now.
"""

import os
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT, Place, before, command_of, environment, log_in, runner, sandbox

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)")
DRAWN = ("pydantic", "pydantic_core", "pydantic_settings", "httpx", "httpcore", "anyio", "structlog", "rich", "prometheus_client",
         "tenacity", "yaml", "runner")  # fmt: skip
SHARE = 0.04  # of the time: frames with less are not shown


def pictures(rounds: int) -> dict[str, Any]:
    """The modules that take longest by themselves and the packages' sums, in ms; and both profiles."""
    with tempfile.TemporaryDirectory() as name, sandbox(Path(name), "--mfa", "none") as place:
        modules = {"import floor": _modules(_floor(), rounds)}
        profiles = {}
        for label, python in (("before", before()), ("now", runner())):
            log_in(python, place, label)
            modules[label] = _modules(_run(python, place, label, "-X", "importtime"), rounds)
            profiles[label] = _profile(python, place, label)
    return {
        "floor": _longest(modules["import floor"]),
        "run": _longest(modules["now"]),
        "packages": {label: _packages(found) for label, found in modules.items()},
        "profiles": profiles,
    }


def _floor() -> list[str]:
    return [str(runner()), "-X", "importtime", str(ROOT / "benchmarks" / "floor.py")]


def _run(python: Path, place: Place, state: str, *before_it: str) -> list[str]:
    return [str(python), *before_it, command_of(python), *place.options(state), "run", "health"]


def _modules(command: list[str], rounds: int) -> dict[str, float]:
    """The least that each module took by itself."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        for microseconds, module in _LINE.findall(told):
            least[module] = min(least.get(module, 1e9), int(microseconds) / 1000)
    return least


def _longest(modules: dict[str, float]) -> list[tuple[str, float]]:
    whole = [("all modules", sum(modules.values()))]
    return whole + sorted(modules.items(), key=lambda item: -item[1])[:15]


def _packages(modules: dict[str, float]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for module, took in modules.items():
        package = module.partition(".")[0]
        sums[package if package in DRAWN else "the rest"] += took
    return sums


def _profile(python: Path, place: Place, state: str) -> str:
    """Where the time of one run goes, as a tree without the frames that take less than `SHARE` of it."""
    profiler = environment(f"profiler-{state}", "pyinstrument")
    options = ["-m", "pyinstrument", "--interval", "0.0005", "--no-unicode", "--no-color", "--renderer", "text"]
    options += ["--show", "*/runner/*", "--render-option", f"processor_options.filter_threshold={SHARE}"]
    command = _run(python, place, state, *options)
    added = {"PYTHONPATH": str(next(profiler.parent.parent.glob("lib/python3*/site-packages")))}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | added).stdout
    return told[told.index("sync-runner --base-url") :].partition("\n\n")[2].partition("\n\nTo view")[0]
