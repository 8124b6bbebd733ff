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
FEW = 100  # and fewer sleep nearly all the time: their runs go side by side
FEW_LANES = 7
APART = 4.0  # seconds between the starts of two of these lanes
HUGE = 2000  # and more have the machine to themselves; between, two runs go at once, half a job's length apart
COLD_ACCOUNTS = 50  # worked on at once where all have to log in

Figures = dict[str, float]
Case = dict[str, Any]


def at_once(counts: list[int], seconds: int, rounds: int) -> Case:
    """So many jobs of that length at once, one an account, each with a session that is kept; each count in so many runs."""
    runner()
    few = [count for count in counts if count <= FEW] * FEW_LANES
    many = [count for count in counts if FEW < count <= HUGE] * 2
    runs = _staggered(few, APART, seconds, -(-rounds // FEW_LANES)) + _staggered(
        many, seconds / 2, seconds, -(-rounds // 2)
    )
    for huge in (count for count in counts if count > HUGE):
        runs += _runs(huge, seconds, rounds)
    by_count = {str(count): _together(one for one in runs if one["count"] == count) for count in counts}
    return {"seconds": seconds, "counts": by_count}


def fleet(count: int, rounds: int) -> Case:
    """Accounts that have no token yet and log in with one-time codes; jobs that take no time."""
    return {"count": count, "runs": _together(one for _ in range(rounds) for one in _runs(count, 0, 1, cold=True))}


def _together(runs: Iterable[Figures]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in runs:
        for name, value in one.items():
            found[name].append(value)
    return found


def _staggered(counts: Sequence[int], apart: float, seconds: int, rounds: int) -> list[Figures]:
    """A lane for each count, with so many runs; the lanes start so many seconds apart."""

    def lane(number: int) -> list[Figures]:
        time.sleep(number * apart)
        return _runs(counts[number], seconds, rounds)

    with ThreadPoolExecutor(len(counts) or 1) as pool:
        return [one for runs in pool.map(lane, range(len(counts))) for one in runs]


def _runs(count: int, seconds: int, rounds: int, *, cold: bool = False) -> list[Figures]:
    """So many runs at one sandbox. Where it is not `cold`, every account has a session from the start."""
    here = runner()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        folders, data = _accounts(home / "accounts", count), _data(home / "data")
        options = ["--users-dir", str(folders), "--data-dir", str(data), "--job-seconds", str(seconds)]
        with sandbox(home, *options, "--mfa", "totp" if cold else "none") as place:
            command = [command_of(here), *place.options("state"), "--log-level", "warning"]
            command += [
                "--set",
                f"accounts_dir={folders}",
                "--set",
                f"limits.accounts={COLD_ACCOUNTS if cold else count}",
            ]
            if not cold:
                measured([*command, "login"])
            return [_run(place, command, count, seconds) for _ in range(rounds)]


def _run(place: Place, command: list[str], count: int, seconds: int) -> Figures:
    """One run. The first job of an account has items and so progress; `--force-full` gives them to the later ones."""
    cpu, seen, report = place.cpu, _seen(place), place.home / "report.json"
    ended = measured([*command, "run", "health", "--force-full", "--report", str(report)], files=True)
    completed = json.loads(report.read_text())["totals"].get("completed", 0)
    return {
        "count": count, "completed": completed, "seconds": ended.seconds, "beyond": ended.seconds - seconds,
        "cpu": ended.cpu, "memory": ended.memory, "files": ended.files, "sandbox_cpu": place.cpu - cpu,
        **{name: now - seen[name] for name, now in _seen(place).items()},
    }  # fmt: skip


def _seen(place: Place) -> Figures:
    """What the server has counted so far."""
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
