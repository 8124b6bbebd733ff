"""Chains of tries under one `run.key`, a random fault in each: `python -m tests.campaign.jobs chains`.

The API takes every trigger, so that a second job shows; its own record is the judge, never the runner's word.
"""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.sandbox.command import write_secrets
from tests.campaign.faults import keyless_profile
from tests.campaign.figures import Figures
from tests.support.command_line import Running
from tests.support.faults.kinds import KINDS
from tests.support.faults.proxy import FaultProxy
from tests.support.faults.table import Class
from tests.support.in_process import run_here
from tests.support.ledgers import close_ledgers, open_ledger
from tests.support.scripted_api import Answers, Asked, ScriptedApi

TRIES = 3
SYNCS = ("health", "workouts")
ENDPOINTS = ("login", "trigger", "trigger", "status", "status", "cancel")
TAME = [kind for kind in KINDS if kind.of is not Class.HARMLESS and "bomb" not in kind.name]
WAYS = (
    "fault",
    "fault",
    "fault",
    "fault",
    "job fails",
    "job never ends",
    "SIGTERM",
    "SIGTERM, detached",
    "SIGKILL",
    "",
)
PLACES = {"login": "POST /api/auth/cli/login", "trigger": "POST /api/sync/cli/trigger",
          "status": "GET /api/sync/cli/status", "cancel": "POST /api/sync/cli/cancel"}  # fmt: skip


@dataclass
class Job:
    """A job at the API; it takes `seconds`, and ends as `end`."""

    job_id: str
    sync_type: str
    key: str | None
    seconds: float
    end: str
    began: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.time)
    cancelled_at: float | None = None

    @property
    def ended_at(self) -> float:
        """By the monotonic clock."""
        return min(self.began + self.seconds, self.cancelled_at or float("inf"))

    @property
    def status(self) -> str:
        """As it is now."""
        if time.monotonic() < self.ended_at:
            return "running" if time.monotonic() > self.began + 0.02 else "pending"
        return self.end if self.cancelled_at is None else "cancelled"

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        begun = datetime.fromtimestamp(self.at, UTC).isoformat()
        return {"job_id": self.job_id, "sync_type": self.sync_type, "status": self.status, "start_time": begun}


class KeyedApi(ScriptedApi):
    """Takes every trigger whose key it does not know."""

    def __init__(self) -> None:
        super().__init__(
            {
                PLACES["login"]: Answers({"success": True, "access_token": "t", "expires_in": 900}),
                PLACES["trigger"]: self._trigger,
                PLACES["status"]: self._status,
                PLACES["cancel"]: self._cancel,
            }
        )
        self.lock = threading.Lock()
        self.jobs: list[Job] = []
        self.next: list[tuple[float, str]] = []  # how long further jobs take, and how they end

    def _trigger(self, asked: Asked) -> Answers:
        key = asked.headers.get("Idempotency-Key")
        with self.lock:
            job = next((one for one in self.jobs if key and one.key == key), None)
            if job is None:
                seconds, end = self.next.pop() if self.next else (0.1, "completed")
                job = Job(f"job-{len(self.jobs)}", asked.json["sync_type"], key, seconds, end)
                self.jobs.append(job)
        return Answers({"success": True, "job_id": job.job_id, "status": "pending"})

    def _status(self, asked: Asked) -> Answers:
        wanted = asked.query.get("job_id")
        found = [job for job in reversed(self.jobs) if wanted is None or job.job_id in wanted]
        return Answers({"success": True, "jobs": [job.shown() for job in found]})

    def _cancel(self, asked: Asked) -> Answers:
        job = next((one for one in self.jobs if one.job_id == asked.json["job_id"]), None)
        if job is None:
            return Answers({"error": "no such job"}, 404)
        if time.monotonic() < job.ended_at:
            job.cancelled_at = time.monotonic()
        return Answers({"success": True, "jobs": [job.shown()]})


class Chain:
    """Three tries of one run, and then tries without a fault until one is green."""

    def __init__(self, bench: "ChainBench", number: int) -> None:
        self.bench, self.number = bench, number
        self.rng = random.Random(number)
        self.home = bench.home / f"chain-{number}"
        self.keyless = number % 5 == 0
        self.told: list[str] = []

    def judge(self) -> list[str]:
        """What is wrong with the chain."""
        api = self.bench.api
        self.bench.secrets(self.home)
        wrong: list[str] = []
        for way in [self.rng.choice(WAYS) for _ in range(TRIES)]:
            code = self._try(way)
            self.told.append(f"{way}: {code}")
            self.bench.codes[code] += 1
            wrong += self._faults_of(code)
        self.bench.proxy.plan("", None, 0, self.rng)
        for _ in range(4):
            api.next.clear()
            if (code := self._run()) == 0:
                break
            time.sleep(1.2)  # dates of whole seconds differ, late answers are in
        wrong += self._faults_of(code)
        refused = code == 3 and any(told.endswith(": 3") for told in self.told)  # a refused password is not sent again
        if (
            code != 0 and not refused and not self.keyless
        ):  # without a key, what became of a lost trigger may stay unknown
            wrong.append(f"ends with {code} without a fault")
        shutil.rmtree(self.home)
        return [f"chain {self.number} ({', '.join(self.told)}): {one}" for one in wrong]

    def _try(self, way: str) -> int:
        proxy, rng = self.bench.proxy, self.rng
        proxy.plan("", None, 0, rng)
        end = "failed" if way == "job fails" else "completed"
        self.bench.api.next = [(rng.uniform(0.0, 0.4), end)]
        if way == "job never ends":
            self.bench.api.next = [(3600.0, "completed")]
        if way == "SIGKILL":
            return self._killed()
        if way == "fault":
            kind = rng.choice(TAME)
            proxy.plan(rng.choice(ENDPOINTS), kind.spoil, rng.choice((1, 1, 2, 3, -1)), rng)
            self.told.append(kind.name)
        stopped = {"interrupt": signal.SIGTERM} if way.startswith("SIGTERM") else {}
        detached = {"on_interrupt": "detach"} if way.endswith("detached") else {}
        return self._run(**stopped, **detached)

    def _run(self, **settings: Any) -> int:
        return run_here(
            self.bench.proxy.base_url, self.home / "secrets", ",".join(SYNCS), state=self.home / "state",
            profile=str(self.bench.keyless) if self.keyless else "garminsync",
            run={"key": f"key-{self.number}"}, deadline={"request": 0.3, "sync": 2.0},
            poll={"patience": 0.6}, retry={"budget": 20}, keep=(), **settings,
        ).code  # fmt: skip

    def _killed(self) -> int:
        """A process of its own, killed at a random moment after its first trigger, or before."""
        api, jobs = self.bench.api, len(self.bench.api.jobs)
        profile = str(self.bench.keyless) if self.keyless else "garminsync"
        words = ["run", *SYNCS, "--base-url", self.bench.proxy.base_url, "--secrets-dir", str(self.home / "secrets"),
                 "--state-dir", str(self.home / "state"), "--profile", profile, "--set", f"run.key=key-{self.number}",
                 "--set", "poll.min=20ms"]  # fmt: skip
        running = Running(words, {})
        until = time.monotonic() + 20
        while running.process.poll() is None and len(api.jobs) == jobs and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(self.rng.choice((0.0, self.rng.uniform(0.0, 0.3))))
        running.signal(signal.SIGKILL)
        running.process.communicate()
        return running.process.returncode

    def _faults_of(self, code: int) -> Iterator[str]:
        """By the API's record after a try."""
        if code == 1:
            yield "a defect"
        for sync_type in SYNCS:
            jobs = [job for job in self.bench.api.jobs if job.sync_type == sync_type]
            for before, after in itertools.pairwise(jobs):
                if after.began < before.ended_at:
                    yield f"{after.job_id} beside {before.job_id}"
                elif before.status == "completed":
                    yield f"{sync_type} triggered again, though {before.job_id} completed: {before}, {after}"
            if code == 0 and (not jobs or jobs[-1].status != "completed"):
                yield f"called complete, but {sync_type} is {[job.status for job in jobs]}"
            yield from self._lost(jobs)

    def _lost(self, jobs: Sequence[Job]) -> Iterator[str]:
        """A job that runs is remembered, by its id or by its intent."""
        running = [job for job in jobs if time.monotonic() < job.ended_at]
        ledger = open_ledger(self.home / "state")
        still_open = {entry.job_id for entry in ledger.recent(50) if entry.outcome is None}
        close_ledgers()
        for job in running:
            if not {job.job_id, None} & still_open:
                yield f"{job.job_id} runs and is not remembered"


class ChainBench:
    """The API of one chain, the proxy before it, and a place for its files.

    Each chain has its own: a request of the chain before, late on a busy machine, would start a job in this one's record.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.api = KeyedApi()
        stack.enter_context(self.api)
        self.proxy = stack.enter_context(FaultProxy(self.api.base_url))
        self.keyless = keyless_profile(self.home)
        self.codes: Counter[int] = Counter()

    def secrets(self, home: Path) -> None:
        """Secrets for an API that takes any."""
        write_secrets(home / "secrets", {"username": "u", "password": "a pass word", "totp_seed": ""})
        (home / "secrets" / "totp_seed").unlink()


def judged(numbers: Sequence[int]) -> tuple[list[str], Counter[int]]:
    """What is wrong with these chains, and the exit codes of their tries."""
    os.environ.pop("GITHUB_ACTIONS", None)
    wrong: list[str] = []
    codes: Counter[int] = Counter()
    for number in numbers:
        with ExitStack() as stack:
            bench = ChainBench(stack)
            wrong += Chain(bench, number).judge()
            codes += bench.codes
    return wrong, codes


def chains(runs: int = 1000, workers: int = 4, seed: int = 0) -> Figures:
    """So many chains of three tries: no completed sync is triggered twice, no job runs beside another, none is lost."""
    numbers = range(seed * 1_000_000, seed * 1_000_000 + runs)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(judged, (numbers[one::workers] for one in range(workers))))
    wrong = [fault for faults, _ in found for fault in faults]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])
    codes: Counter[int] = sum((codes for _, codes in found), Counter())
    return {"chains": runs, "tries": codes.total(), "exit codes": dict(sorted(codes.items())),
            "completed syncs triggered twice": 0, "second jobs": 0, "lost": 0}  # fmt: skip
