"""Many jobs at once, and a fleet of accounts: one process of the runner, its cost by the number of jobs."""

import base64
import json
import secrets
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.places import Place, command_of, runner, sandbox
from benchmarks.process import measured

ITEMS = 30  # a job has little to do, so that the runner is measured and not the sandbox: 90 of them double its CPU
FEW = 100  # and fewer sleep nearly all the time: all their runs go side by side
APART = 6.0  # seconds between the starts of two of these
HUGE = 2000  # and more have the machine to themselves; between, two runs go at once, half a job's length apart

Figures = dict[str, float]
Case = dict[str, Any]


def at_once(counts: list[int], seconds: int, rounds: int) -> Case:
    """So many jobs of that length at once, one an account, login included; each count in so many runs."""
    runner()
    few = [count for count in counts if count <= FEW] * rounds
    many = [count for count in counts if FEW < count <= HUGE] * rounds
    runs = _staggered(few, len(few), APART, seconds) + _staggered(many, 2, seconds / 2, seconds)
    runs += [_run(count, seconds, "none", at_once=count) for count in counts if count > HUGE for _ in range(rounds)]
    by_count = {str(count): _together(one for one in runs if one["count"] == count) for count in counts}
    return {"seconds": seconds, "counts": by_count}


def fleet(count: int, rounds: int) -> Case:
    """Accounts that have no token yet and log in with one-time codes; jobs that take no time."""
    return {"count": count, "runs": _together(_run(count, 0, "totp", at_once=50) for _ in range(rounds))}


def _together(runs: Iterable[Figures]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in runs:
        for name, value in one.items():
            found[name].append(value)
    return found


def _staggered(counts: Sequence[int], lanes: int, apart: float, seconds: int) -> list[Figures]:
    """A run for each count, in that many lanes, which start so many seconds apart."""

    def lane(number: int) -> list[Figures]:
        time.sleep(number * apart)
        return [_run(count, seconds, "none", at_once=count) for count in counts[number::lanes]]

    with ThreadPoolExecutor(lanes or 1) as pool:
        return [one for runs in pool.map(lane, range(lanes)) for one in runs]


def _run(count: int, seconds: int, mfa: str, *, at_once: int) -> Figures:
    here = runner()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        folders, data = _accounts(home / "accounts", count), _data(home / "data")
        options = ["--users-dir", str(folders), "--data-dir", str(data), "--job-seconds", str(seconds), "--mfa", mfa]
        with sandbox(home, *options) as place:
            before = place.cpu
            command = [command_of(here), *place.options("state"), "--log-level", "warning"]
            command += ["--set", f"accounts_dir={folders}", "--set", f"limits.accounts={at_once}"]
            ended = measured([*command, "run", "health", "--report", str(home / "report.json")], files=True)
            completed = json.loads((home / "report.json").read_text())["totals"].get("completed", 0)
            return {
                "count": count, "completed": completed, "seconds": ended.seconds, "beyond": ended.seconds - seconds,
                "cpu": ended.cpu, "memory": ended.memory, "files": ended.files, "sandbox_cpu": place.cpu - before,
                **_seen(place),
            }  # fmt: skip


def _seen(place: Place) -> Figures:
    """What the server counted."""
    record = place.record()
    requests = [one["endpoint"] for one in record["requests"]]
    return {
        "requests": len(requests), "logins": requests.count("login"), "looks": requests.count("status"),
        "jobs": len(record["jobs"]), "sessions": len(record["sessions"]),
    }  # fmt: skip


def _accounts(directory: Path, count: int) -> Path:
    """A folder of secret files for each account, as the sandbox and the runner read them."""
    for number in range(count):
        folder = directory / f"account-{number:05}"
        folder.mkdir(parents=True)
        seed = base64.b32encode(secrets.token_bytes(20)).decode()
        values = {"username": folder.name, "password": secrets.token_urlsafe(12), "totp_seed": seed}
        for name, value in values.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(value + "\n", encoding="utf-8")
    return directory


def _data(directory: Path) -> Path:
    for kind in ("activities", "health", "workouts"):
        (directory / kind).mkdir(parents=True)
        for number in range(ITEMS):
            day = date(2026, 1, 1) + timedelta(days=number)
            (directory / kind / f"{day}.json").write_text(json.dumps({"date": str(day)}), encoding="utf-8")
    return directory
