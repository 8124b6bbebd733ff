"""Cold start and whole runs of jobs that take no time, side by side: each round starts every contender once, in turn."""

import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.places import BUILD, PEERS, ROOT, Place, before, command_of, environment, log_in, runner, sandbox
from benchmarks.process import Measured, measured

Rounds = dict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that is measured; `sends` where it makes requests."""

    command: list[str]
    environment: dict[str, str]
    sends: bool = True


def _contenders(place: Place) -> dict[str, Contender]:
    here, old = runner(), before()
    for state, python in (("new", here), ("old", old)):
        log_in(python, place, state)
    token, shell = place.home / "token", ["sh", str(ROOT / "benchmarks" / "shell.sh"), "health"]
    token.write_text(place.token("new"))
    told = {"BASE_URL": place.base_url, "SECRETS": str(place.home / "secrets"), "TOKEN_FILE": str(token)}
    found = {
        "import floor": Contender([str(here), str(ROOT / "benchmarks" / "floor.py")], {}, sends=False),
        "sync-runner": Contender([command_of(here), *place.options("new"), "run", "health"], {}),
        "sync-runner before": Contender([command_of(old), *place.options("old"), "run", "health"], {}),
        "sync-runner --help": Contender([command_of(here), "--help"], {}, sends=False),
        "sync-runner --version": Contender([command_of(here), "--version"], {}, sends=False),
        "shell script": Contender(shell, told),
    }
    for name, packages in PEERS.items():
        python = environment(name, *packages)
        script = next((ROOT / "benchmarks" / "peers").glob(f"{name}_*.py"))
        homes = {f"{name.upper()}_HOME": str(BUILD / f"{name}-home"), "DO_NOT_TRACK": "1"}
        found[name] = Contender([str(python), str(script), "health"], told | homes)
    return found


def cold_start(rounds: int) -> dict[str, Any]:
    """Each contender's times, in rounds; with a kept token, against jobs that take no time."""
    found: Rounds = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as name, sandbox(Path(name), "--mfa", "none") as place:
        contenders = _contenders(place)
        for number in range(-1, rounds):  # the first round fills the page cache
            for label, one in contenders.items():
                ended = measured(one.command, one.environment)
                if number >= 0:
                    _note(found[label], ended, _first(place, ended) if one.sends else None)
    return {"rounds": found}


def cold_login(rounds: int) -> dict[str, Any]:
    """The same without a token: a login with a one-time code, each for a user of its own."""
    found: Rounds = defaultdict(lambda: defaultdict(list))
    here = runner()
    for _ in range(rounds):  # a code is good once in 30 s: each pair gets a sandbox of its own
        for label in ("sync-runner", "shell script"):
            with tempfile.TemporaryDirectory() as name, sandbox(Path(name)) as place:
                _wait_for_the_middle_of_a_step()
                told = {"BASE_URL": place.base_url, "SECRETS": f"{name}/secrets", "TOKEN_FILE": f"{name}/token"}
                command = [command_of(here), *place.options("state"), "run", "health"]
                shell = ["sh", str(ROOT / "benchmarks" / "shell.sh"), "health"]
                ended = measured(command if label == "sync-runner" else shell, told if label != "sync-runner" else {})
                _note(found[label], ended, _first(place, ended))
                shutil.rmtree(Path(name) / "state", ignore_errors=True)
    return {"rounds": found}


def _wait_for_the_middle_of_a_step() -> None:
    """So that neither waits for the next code."""
    left = 30 - time.time() % 30
    if left < 8:
        time.sleep(left)


def _first(place: Place, ended: Measured) -> float:
    """Seconds from the start of the process to its first request, by the server's record."""
    came = min(float(one["at"]) for one in place.record()["requests"] if one["at"] >= ended.began)
    return came - ended.began


def _note(found: dict[str, list[float]], ended: Measured, first: float | None) -> None:
    found["whole"].append(ended.seconds)
    found["memory"].append(ended.memory)
    found["cpu"].append(ended.cpu)
    if first is not None:
        found["first"].append(first)
