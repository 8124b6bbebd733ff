"""A job of 24 hours watched on a fake clock, by the code that watches any: requests, delay, memory. Prints JSON.

`python -m benchmarks.day`, in an environment with the runner.
"""

import asyncio
import json
import resource
import time
from types import SimpleNamespace
from typing import Any, cast

from runner.clock import Deadline
from runner.events.observer import Observer
from runner.external import ExternalText
from runner.jobs.api import JobApi
from runner.jobs.context import PollPolicy, SyncContext
from runner.jobs.drive import Drive
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, SyncJob
from runner.state.sqlite_ledger import SqliteLedger

DAY = 86_400.0


class FakeClock:
    """A clock on which a pause takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeApi:
    """A job that ends after `length` seconds of the clock; with progress, in whole per cent, or without."""

    def __init__(self, clock: FakeClock, length: float, *, progress: bool) -> None:
        self.clock, self.length, self.progress, self.polls_per_second = clock, length, progress, 0

    profile = SimpleNamespace(
        trigger=SimpleNamespace(names_job=False, names_once=False, idempotent=False),
        running=None,
        single=None,
        cancel=None,
    )

    async def trigger(self, *_: object) -> SyncJob:
        return SyncJob(ExternalText("1"), JobStatus.PENDING, begun_at=self.clock.monotonic())

    async def poll(self, job: SyncJob, *_: object) -> SyncJob:
        self.polls_per_second += 1
        share = self.clock.now / self.length
        if share >= 1:
            return SyncJob(job.job_id, JobStatus.COMPLETED, progress=100.0)
        return SyncJob(job.job_id, JobStatus.RUNNING, progress=float(int(100 * share)) if self.progress else None)


def watched(length: float, *, progress: bool) -> dict[str, Any]:
    """How the watching of one job went."""
    clock = FakeClock()
    api = FakeApi(clock, length, progress=progress)
    shared = SyncContext(
        "a", "t", "r", cast(JobApi, api), SqliteLedger(None, clock), clock, PollPolicy(sync_seconds=None)
    )
    drive = Drive(shared, PlannedSync("x", "x"), Deadline(clock), Deadline(clock), Observer(clock))
    asyncio.run(drive.course())
    return {"looks": api.polls_per_second, "late": round(clock.now - length, 1)}


def main() -> None:
    """Two days, with progress and without, and what a hundred more of them cost in memory."""
    found: dict[str, Any] = {name: watched(DAY, progress=name == "progress") for name in ("progress", "none")}
    before, began = _memory(), time.process_time()
    for _ in range(100):
        watched(DAY, progress=True)
    found |= {"growth": _memory() - before, "seconds": (time.process_time() - began) / 100}
    print(json.dumps(found))


def _memory() -> float:
    """MiB at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
