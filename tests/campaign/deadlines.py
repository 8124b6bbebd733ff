"""Runs that something holds up until their deadline: `python -m tests.campaign.jobs deadlines`.

A run is the whole command line, from its call to its return, report and push of metrics among it, in a process whose modules
are loaded: what counts is how much longer than the deadline that takes.
"""

import json
import math
import multiprocessing
import os
import random
import socket
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.sandbox import data
from runner.sandbox.command import write_secrets
from runner.sandbox.faults import Fault
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from runner.state.file_lock import open_lock, try_lock
from runner.state.interface import account_key
from runner.state.ledger import Ledger
from tests.campaign.figures import Figures
from tests.campaign.interrupts import pushgateway
from tests.support.faults.connections import NAME_KINDS, names_failing
from tests.support.faults.kinds import KINDS
from tests.support.faults.proxy import FaultProxy
from tests.support.in_process import command_here

OVERSHOOT = 0.25  # seconds at most
UNPUSHED = 0.01  # of the runs at most: a push has what is left of the time, and that is little after a short deadline
PASSWORD = "pass word of the campaign"
_SPOIL = {kind.name: kind.spoil for kind in KINDS}


@contextmanager
def _ledger_locked(state: Path) -> Iterator[None]:
    """Another process that is writing to the ledger and does not end."""
    Ledger(state).close()
    with closing(sqlite3.connect(state / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _login_locked(state: Path, base_url: str, user: str) -> Iterator[None]:
    """Another process that is at the login and does not end."""
    (state / "sessions").mkdir(parents=True)
    descriptor = open_lock(state / "sessions" / f"{account_key(base_url, user)}.lock")
    assert try_lock(descriptor)
    yield
    os.close(descriptor)


# What holds a run up: the endpoint, the kind of fault there, or none where something else does.
HOLD_UPS: dict[str, tuple[str, str | None]] = {
    "login stalls": ("login", "stall before"),
    "login drips": ("login", "drip"),
    "login is turned away": ("login", "503, Retry-After: 1"),
    "trigger stalls": ("trigger", "stall before"),
    "trigger stalls after it is taken": ("trigger", "stall after"),
    "trigger is turned away": ("trigger", "503"),
    "status stalls": ("status", "stall after"),
    "status drips": ("status", "stall in the body"),
    "status fails": ("status", "502"),
    "the job never ends": ("", None),
    "the job never ends, cancel stalls": ("cancel", "stall before"),
    "the job never ends, cancel is turned away": ("cancel", "503, Retry-After: 1"),
    "the job never ends, the Pushgateway hangs": ("", None),
    "the job never ends, cancel and the Pushgateway hang": ("cancel", "stall before"),
    "the name look-up hangs": ("", None),
    "nobody listens": ("", None),
    "another process is at the login": ("", None),
    "another process writes to the ledger": ("", None),
}


SETTINGS = {
    "retry.attempts": 100, "retry.budget": 1000, "retry.wait": "500ms", "retry.max_wait": "30s", "poll.min": "10ms",
    "log.format": "json",
}  # fmt: skip


@dataclass(frozen=True)
class RunOutput:
    """How a run ended: its exit code, after how many seconds, and what it wrote."""

    code: int
    seconds: float
    report: str
    log: str


class Course:
    """A sandbox, a proxy, a Pushgateway that hangs beside the good one, and runs that are held up."""

    def __init__(self, stack: ExitStack, gateway: str) -> None:
        self.gateway = gateway
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.generate(self.home / "data", 7, SandboxSettings().last_day)
        self.server = stack.enter_context(SandboxServer(SandboxSettings(port=0, kdf="fast", data=self.home / "data")))
        self.proxy = stack.enter_context(FaultProxy(self.server.base_url))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.silent = f"http://127.0.0.1:{silent.getsockname()[1]}"
        self._users = 0

    def run(self, hold_up: str, deadline: float, which: str) -> RunOutput:
        """One run with a deadline of so many seconds, of `sync` or `run`, that is held up."""
        self._users += 1
        user = f"user-{self._users}"
        state = self.home / user / "state"
        self.server.sandbox.accounts.put(user, PASSWORD, "", "none")
        write_secrets(self.home / user / "secrets", {"username": user, "password": PASSWORD})
        endpoint, kind = HOLD_UPS[hold_up]
        self.proxy.plan(endpoint, _SPOIL[kind] if kind else None, -1, random.Random(hold_up))
        self.server.sandbox.faults.clear()
        self.server.sandbox.faults.add(Fault("job_stalls"))
        base_url = self.proxy.base_url.replace("127.0.0.1", "localhost")
        held: AbstractContextManager[Any] = nullcontext()
        if hold_up == "the name look-up hangs":
            held = names_failing(NAME_KINDS["DNS: hangs"], range(1 << 30))
        elif hold_up == "nobody listens":
            base_url = "http://127.0.0.1:1"
        elif hold_up == "another process is at the login":
            held = _login_locked(state, base_url, user)
        elif hold_up == "another process writes to the ledger":
            held = _ledger_locked(state)
        settings = {
            **SETTINGS,
            "base_url": base_url,
            "secrets_dir": self.home / user / "secrets",
            "state.dir": state,
            f"deadline.{which}": f"{1000 * deadline:.0f}ms",
            "metrics.pushgateway.url": self.silent if "Pushgateway" in hold_up else self.gateway,
        }
        words = ["run", "health", "--start", "-7d", "--end", "today", "--report", "-"]
        with held:
            return _timed([*words, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))])


def _timed(words: list[str]) -> RunOutput:
    began = time.monotonic()
    code, out, err = command_here(words)
    return RunOutput(code, time.monotonic() - began, out, err)


def overshoots(seed: int, runs: int, longest: float, gateway: str) -> tuple[list[tuple[float, str]], list[str], int]:
    """How long each run went on after its deadline, in seconds; what else was wrong; and how many could not push."""
    rng = random.Random(seed)
    found: list[tuple[float, str]] = []
    wrong: list[str] = []
    unpushed = 0
    with ExitStack() as stack:
        sync_run = Course(stack, gateway)
        sync_run.run("nobody listens", 0.1, "run")  # loads what is loaded late
        for _ in range(runs):
            hold_up, deadline = rng.choice(list(HOLD_UPS)), rng.uniform(1.0, longest)
            which = (
                "run" if "Pushgateway" in hold_up else rng.choice(("sync", "run"))
            )  # a sync's end is before the push
            told = sync_run.run(hold_up, deadline, which)
            found.append((told.seconds - deadline, hold_up))
            wrong += [f"{hold_up}, {deadline:.2f} s: {fault}" for fault in faults_of(told, hold_up)]
            unpushed += "Pushgateway" not in hold_up and "emit.failed" in told.log
    return found, wrong, unpushed


def faults_of(told: RunOutput, hold_up: str) -> Iterator[str]:
    """What is wrong with how a run that was held up so ended, but for its time."""
    if told.code not in _codes(hold_up):
        yield f"code {told.code}: {told.report}"
    if json.loads(told.report)["exit_code"] != told.code:
        yield "no report, or one with another code"
    if "Pushgateway" in hold_up and "emit.failed" not in told.log:
        yield "metrics seem to be pushed where they cannot"


def _codes(hold_up: str) -> tuple[int, ...]:
    """6, but 8 where a trigger may have been taken; a ledger that cannot be written is a matter of configuration."""
    if hold_up == "trigger stalls":
        return (8,)
    if hold_up == "trigger is turned away":  # or cut short in the middle of a try
        return (6, 8)
    return (2, 6) if hold_up == "another process writes to the ledger" else (6,)


def deadlines(runs: int = 1008, workers: int = 4, longest: float = 5.0, seed: int = 1) -> Figures:
    """Runs held up in every way. Fails where one goes on for more than 250 ms, or ends with another code."""
    seeds, share = range(1000 * seed, 1000 * seed + workers), math.ceil(runs / workers)
    with (
        pushgateway() as gateway,
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        made = list(pool.map(overshoots, seeds, *([given] * workers for given in (share, longest, gateway))))
    found = sorted(one for some, _, _ in made for one in some)
    unpushed = sum(one for _, _, one in made)
    figures = summed(found, [fault for _, faults, _ in made for fault in faults])
    assert unpushed <= UNPUSHED * len(found), f"{unpushed} of {len(found)} did not push to a good Pushgateway"
    return {**figures, "had no time to push": unpushed}


def summed(found: list[tuple[float, str]], wrong: list[str]) -> Figures:
    """The figures of overshoots in rising order. Fails where one is too long, or a run ended wrongly."""
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:30])
    late = [one for one in found if one[0] > OVERSHOOT]
    assert not late, f"{len(late)} of {len(found)}: {Counter(hold_up for _, hold_up in late)}, most {late[-1]}"
    return {
        "runs": len(found),
        "hold-ups": len({hold_up for _, hold_up in found}),
        "overshoot ms, median": round(1000 * found[len(found) // 2][0]),
        "overshoot ms, p99": round(1000 * found[int(0.99 * len(found))][0]),
        "overshoot ms, max": round(1000 * found[-1][0]),
        "of": found[-1][1],
    }
