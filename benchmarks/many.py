"""Many jobs at once, and a fleet of accounts: one process of the runner, its cost by the number of jobs."""

import base64
import json
import secrets
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.places import Place, command_of, runner, sandbox
from benchmarks.process import measured

ITEMS = 30  # a job has little to do, so that the runner is measured and not the sandbox


def at_once(counts: list[int], seconds: int) -> dict[str, Any]:
    """So many jobs of that length at once, one an account, login included."""
    return {"seconds": seconds, "counts": [_run(count, seconds, "none", at_once=count) for count in counts]}


def fleet(count: int) -> dict[str, Any]:
    """Accounts that have no token yet and log in with one-time codes; jobs that take no time."""
    return _run(count, 0, "totp", at_once=50)


def _run(count: int, seconds: int, mfa: str, *, at_once: int) -> dict[str, Any]:
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
            return _told(place, ended.seconds, ended.cpu, ended.memory, ended.files, place.cpu - before) | {
                "count": count,
                "completed": json.loads((home / "report.json").read_text())["totals"].get("completed", 0),
            }


def _told(place: Place, seconds: float, cpu: float, memory: float, files: int, sandbox_cpu: float) -> dict[str, Any]:
    record = place.record()
    requests = [one["endpoint"] for one in record["requests"]]
    return {
        "seconds": seconds, "cpu": cpu, "memory": memory, "files": files, "sandbox_cpu": sandbox_cpu,
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
        for number in range(1, ITEMS + 1):
            day = f"2026-06-{number:02}"
            (directory / kind / f"{day}.json").write_text(json.dumps({"date": day}), encoding="utf-8")
    return directory
