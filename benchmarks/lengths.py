"""What a run takes beyond its job's own length, and how many requests it makes, beside a script that polls each second."""

import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT, Place, command_of, log_in, runner, sandbox
from benchmarks.process import measured

LANES = {0.0: 1, 2.0: 1, 10.0: 3, 60.0: 7}  # so many pairs at once, each at a sandbox of its own: long jobs leave room
APART = 2.0  # seconds between the starts of two lanes, so that no start meets another

Noted = dict[str, dict[str, list[float]]]


def lengths(rounds: int) -> dict[str, Any]:
    """Seconds and requests of both, for each length, in at least that many rounds."""
    runner()
    return {"lengths": {f"{seconds:g}": _of(seconds, rounds) for seconds in LANES}}


def _of(seconds: float, rounds: int) -> Noted:
    lanes = LANES[seconds]
    found: Noted = defaultdict(lambda: defaultdict(list))
    with ThreadPoolExecutor(lanes) as pool:
        for noted in pool.map(lambda lane: _lane(seconds, -(-rounds // lanes), lane), range(lanes)):
            for label, figures in noted.items():
                for name, values in figures.items():
                    found[label][name] += values
    return found


def _lane(seconds: float, rounds: int, lane: int) -> Noted:
    options = ("--mfa", "none", "--job-seconds", str(seconds))
    with tempfile.TemporaryDirectory() as name, sandbox(Path(name), *options) as place:
        commands = _commands(place, seconds)
        if lane % 2:
            commands.reverse()  # not all lanes run the same at once
        time.sleep(lane * APART)
        found: Noted = {label: {"beyond": [], "requests": []} for label in ("sync-runner", "shell script")}
        for _ in range(rounds):
            for label, command, variables in commands:
                seen = len(place.record()["requests"])
                ended = measured(command, variables)
                record = place.record()
                job = record["jobs"][-1]
                found[label]["beyond"].append(ended.seconds - (_unix(job["end_time"]) - _unix(job["start_time"])))
                found[label]["requests"].append(len(record["requests"]) - seen)
        return found


def _commands(place: Place, seconds: float) -> list[tuple[str, list[str], dict[str, str]]]:
    here = runner()
    log_in(here, place, "new")
    token = place.home / "token"
    token.write_text(place.token("new"))
    told = {"BASE_URL": place.base_url, "SECRETS": str(place.home / "secrets"), "TOKEN_FILE": str(token)}
    full = ["--force-full"] if seconds else []  # without it, a job after the first has no items and no progress
    return [
        ("sync-runner", [command_of(here), *place.options("new"), "run", "health", *full], {}),
        ("shell script", ["sh", str(ROOT / "benchmarks" / "shell.sh"), "health"], told),
    ]


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
