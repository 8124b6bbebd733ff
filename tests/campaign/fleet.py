"""Many accounts in one process, and the same in shards, judged by the server's record. `python -m tests.campaign.fleet`.

Each campaign returns its figures, and fails where a promise is broken.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.support.accounts import users, write_accounts
from tests.support.command_line import CommandLine

TYPES = ("activities", "health", "workouts")
MOST_MEMORY = 150.0  # MiB
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fleet:
    """A sandbox whose users all have a folder of secret files."""

    cli: CommandLine
    folders: Path
    size: int

    def arguments(self, *more: str) -> list[str]:
        """The command line of a run of all."""
        common = [sys.executable, "-m", "runner", "--base-url", self.cli.server.base_url, "--log-format", "json"]
        common += ["--state-dir", str(self.cli.state)]
        return [*common, "--set", f"accounts_dir={self.folders}", "run", *TYPES, "--report", "-", *more]


@contextmanager
def fleet_of(size: int, **settings: Any) -> Iterator[Fleet]:
    """A fleet of that size, and nothing left of it afterwards. A job has little to do, so that the runner is measured."""
    known = users(size)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        server = SandboxServer(
            SandboxSettings(port=0, kdf="fast", data=_small_data(home / "data"), users=known, **settings)
        )
        with server:
            yield Fleet(CommandLine(server, home), write_accounts(home / "accounts", known), size)


def _small_data(directory: Path) -> Path:
    for kind in TYPES:
        (directory / kind).mkdir(parents=True)
        for number in range(3):
            day = date(2026, 6, 30) - timedelta(days=number)
            (directory / kind / f"{day}.json").write_text(json.dumps({"date": str(day)}), encoding="utf-8")
    return directory


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that has ended, with the most memory it held, in MiB."""

    code: int
    log: str
    report: dict[str, Any]
    memory: float
    seconds: float


def measured(arguments: list[str]) -> Measured:
    """Run to the end. The peak is the kernel's own (VmHWM), read as long as there is a process to read it of."""
    began, memory = time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(arguments, stdout=out, stderr=log)
        while process.poll() is None:
            memory = max(memory, _peak(process.pid))
            time.sleep(0.02)
        out.seek(0)
        log.seek(0)
        report, told = json.loads(out.read() or "{}"), log.read()
    return Measured(process.returncode, told[-2000:], report, memory, time.monotonic() - began)


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def done_once(fleet: Fleet, times: int = 1) -> int:
    """How many jobs the server ran. Fails unless each account's syncs ran so many times and completed."""
    record = fleet.cli.record()
    names = {user["id"]: user["username"] for user in record["users"]}
    ran = Counter((names[job["user_id"]], job["sync_type"]) for job in record["jobs"])
    wanted = {f"user-{number:04}" for number in range(fleet.size)}
    assert ran == {(name, kind): times for name in wanted for kind in TYPES}, ran
    assert {job["status"] for job in record["jobs"]} == {"completed"}
    assert sum(user["failures"] for user in record["users"]) == 0
    return sum(ran.values())


def one_process(size: int = 1000, connections: int = 20, accounts: int = 50) -> Figures:
    """All accounts in one process: every sync completes once, in little memory, over no more connections than set."""
    with fleet_of(size) as fleet:
        limits = ["--set", f"limits.connections={connections}", "--set", f"limits.accounts={accounts}"]
        ended = measured(fleet.arguments(*limits))
        assert ended.code == 0, ended.log
        jobs = done_once(fleet)
        most = fleet.cli.record()["most_connections"]
    assert [one["exit_code"] for one in ended.report["accounts"]] == [0] * size
    assert most <= connections, most
    assert ended.memory <= MOST_MEMORY, ended.memory
    return {
        "accounts": size, "jobs": jobs, "connections set": connections, "connections at most": most,
        "peak MiB": round(ended.memory, 1), "run seconds": round(ended.seconds, 1),
    }  # fmt: skip


def shards(size: int = 1000, count: int = 4) -> Figures:
    """The same accounts in shards, one after another: together they do exactly the same once."""
    with fleet_of(size) as fleet:
        ended = [measured(fleet.arguments("--shard", f"{index}/{count}")) for index in range(count)]
        assert [one.code for one in ended] == [0] * count, ended[0].log
        jobs = done_once(fleet)
    held = [{one["account"] for one in part.report["accounts"]} for part in ended]
    assert sum(map(len, held)) == len(set().union(*held)) == size, held
    return {
        "accounts": size, "shards": [len(part) for part in held], "jobs": jobs,
        "peak MiB": [round(one.memory, 1) for one in ended],
    }  # fmt: skip


CAMPAIGNS: dict[str, Callable[[int], Figures]] = {"one_process": one_process, "shards": shards}


def main() -> None:
    """Run the campaigns named, or all, and print each one's figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--size", type=int, default=1000, metavar="N", help="accounts (default: 1000)")
    arguments = parser.parse_args()
    for name in arguments.names or CAMPAIGNS:
        began = time.monotonic()
        figures = CAMPAIGNS[name](arguments.size)
        print(json.dumps({"campaign": name, **figures, "seconds": round(time.monotonic() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()
