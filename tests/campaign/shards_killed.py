"""Shards of a fleet that are killed and started again, with the state's database away meanwhile, judged by the server's record.

`python -m tests.campaign.shards_killed NAME size=1000 shards=8`. Each campaign returns its figures, and fails where a promise is broken.
"""

import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.campaign.figures import Figures, main
from tests.campaign.fleet import MOST_MEMORY, Fleet, _peak, done_once, fleet_of
from tests.support.postgresql import PASSWORD, Server, postgresql

KILLS = 2  # of each shard
OUTAGES, OUTAGE_SECONDS = 2, 10.0


class Shards:
    """One process for each shard, started again after each death until it ends with code 0."""

    def __init__(self, fleet: Fleet, count: int, more: list[str], log: Path) -> None:
        """Nothing is started yet."""
        self._log, self.memory, self.kills, self.starts = log, 0.0, 0, 0
        run_key = ["--set", "run.key=campaign", "--set", "limits.accounts=20"]
        self._words = [[*fleet.arguments("--shard", f"{index}/{count}", *run_key), *more] for index in range(count)]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self.done = [False] * count

    def start(self, index: int) -> None:
        """Start a shard, or start it again."""
        self.starts += 1
        with self._log.open("ab") as log:
            self._processes[index] = subprocess.Popen(self._words[index], stdout=subprocess.DEVNULL, stderr=log)

    def look(self) -> None:
        """Read the memory of those at work; start again those that ended with another code than 0."""
        for index, process in enumerate(self._processes):
            if process is None or self.done[index]:
                continue
            if (code := process.poll()) is None:
                self.memory = max(self.memory, _alive(process.pid))
            elif code == 0:
                self.done[index] = True
            else:
                self.start(index)

    def kill(self, index: int) -> bool:
        """End a shard's process without a word. False where it had ended."""
        process = self._processes[index]
        if process is None or self.done[index] or process.poll() is not None:
            return False
        process.kill()
        process.wait()
        self.kills += 1
        return True

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._processes:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def _alive(pid: int) -> float:
    try:
        return _peak(pid)
    except OSError:
        return 0.0


def _until_done(shards: Shards, count: int, seed: int, outage: Callable[[], None] | None, pace: float) -> None:
    """Kill each shard `KILLS` times at random moments, and have the database away meanwhile."""
    rng = random.Random(seed)
    began = time.monotonic()
    events: list[tuple[float, Callable[[], object]]] = []
    for index in range(count):
        shards.start(index)
        for number in range(KILLS):
            events.append((rng.uniform(number * pace + 2, number * pace + pace), partial(shards.kill, index)))
    if outage is not None:
        events += [((number + 0.5) * pace, outage) for number in range(OUTAGES)]
    events.sort(key=lambda one: one[0])
    while not all(shards.done):
        while events and time.monotonic() - began >= events[0][0]:
            events.pop(0)[1]()
        shards.look()
        time.sleep(0.05)


def _measured(
    fleet: Fleet, count: int, seed: int, more: list[str], outage: Callable[[], None] | None, pace: float
) -> Figures:
    log = fleet.cli.home / "log"
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    shards = Shards(fleet, count, more, log)
    try:
        _until_done(shards, count, seed, outage, pace)
        jobs = done_once(fleet)
    except AssertionError:
        print(log.read_text(encoding="utf-8")[-3000:])
        raise
    finally:
        shards.end()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert shards.memory <= MOST_MEMORY, shards.memory
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "accounts": fleet.size, "shards": count, "jobs": jobs, "killed": shards.kills, "starts": shards.starts,
        "peak MiB": round(shards.memory, 1), "run seconds": round(time.monotonic() - began, 1), "CPU seconds": round(cpu, 1),
    }  # fmt: skip


def directory(size: int = 1000, shards: int = 8, seed: int = 1, pace: int = 20) -> Figures:
    """The state in one directory."""
    with fleet_of(size) as fleet:
        return _measured(fleet, shards, seed, [], None, float(pace))


def database(size: int = 1000, shards: int = 8, seed: int = 1, pace: int = 20) -> Figures:
    """The state in PostgreSQL, which is away twice."""
    with postgresql() as server, fleet_of(size) as fleet:
        return _measured(fleet, shards, seed, list(_in(server, fleet)), lambda: _away(server), float(pace))


def database_steady(size: int = 1000, shards: int = 8, seed: int = 1, pace: int = 20) -> Figures:
    """As `database`, and it is never away: beside `directory`."""
    with postgresql() as server, fleet_of(size) as fleet:
        return _measured(fleet, shards, seed, list(_in(server, fleet)), None, float(pace))


def _in(server: Server, fleet: Fleet) -> Iterator[str]:
    (fleet.folders / "state_password").write_text(PASSWORD)
    yield from ("--set", f"state.url={server.url}", "--secrets-dir", str(fleet.folders))


def _away(server: Server) -> None:
    server.stop()
    time.sleep(OUTAGE_SECONDS)
    server.start()


CAMPAIGNS = {"directory": directory, "database": database, "database_steady": database_steady}

if __name__ == "__main__":
    main(CAMPAIGNS, __doc__)
