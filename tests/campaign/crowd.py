"""Many runners at once against one API that turns every fifth request away: `python -m tests.campaign.jobs crowd`."""

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from runner.sandbox.command import write_secrets
from tests.campaign.figures import Figures
from tests.support.in_process import run_here

PASSWORD = "pass word of the campaign"
RETRY_AFTER = 1.0
JOB_SECONDS = 20.0  # by far longer than two cores need to start two hundred
WEEK = [{"type": "health", "start": "-7d", "end": "today"}]  # little work, so that a job takes its time and no longer
LOADED = ("anyio._backends._asyncio", "httpx", "tenacity")  # what a run imports late, once for all that are forked
MOST_REQUESTS = 1.3  # times those without a fault


@contextmanager
def sandbox(home: Path, *options: str) -> Iterator[dict[str, Any]]:
    """A sandbox in a process of its own; its address and admin token."""
    words = [sys.executable, "-m", "runner", "sandbox", "--port", "0", "--print-credentials", "--kdf", "fast", *options]
    with subprocess.Popen(
        [*words, "--sandbox-state", str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


class Gathering:
    """Users at a sandbox, and a runner for each."""

    def __init__(self, stack: ExitStack, runners: int, *options: str) -> None:
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.found = stack.enter_context(sandbox(self.home / "sandbox", "--job-seconds", str(JOB_SECONDS), *options))
        bearer = {"Authorization": f"Bearer {self.found['admin_token']}"}
        self._client = stack.enter_context(httpx.Client(base_url=self.found["base_url"], headers=bearer, timeout=60))
        self.users = [f"user-{number}" for number in range(runners)]
        for user in self.users:
            self._admin("POST", "/admin/users", {"username": user, "password": PASSWORD, "mfa": "none"})
            write_secrets(self.home / user, {"username": user, "password": PASSWORD, "totp_seed": ""})
            (self.home / user / "totp_seed").unlink()

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, **fault: Any) -> None:
        """Have the sandbox spoil answers."""
        self._admin("POST", "/admin/faults", fault)

    def run_all(self, **settings: Any) -> Counter[int]:
        """Every runner in a process of its own, all at once. Their exit codes."""
        given = {"base_url": self.found["base_url"], "home": str(self.home), "users": self.users, "settings": settings}
        words = [sys.executable, "-m", "tests.campaign.crowd"]
        done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, check=True)
        return Counter(json.loads(done.stdout))

    def record(self) -> dict[str, Any]:
        """What the server saw and did."""
        found: dict[str, Any] = self._admin("GET", "/admin/record")
        return found


def run_each(base_url: str, home: str, users: list[str], settings: dict[str, Any]) -> list[int]:
    """A runner for each user, in a process of its own forked from this one, which has no threads. Their exit codes.

    Raises AssertionError where one had ended before the last was begun: they are to be alive all at once.
    """
    settings = {"retry": {"wait": 0.5, "max_wait": 30.0}, "poll": {"min": 0.25, "patience": 600.0}, **settings}
    children = []
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # what all share stays shared
    for user in users:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = run_here(base_url, Path(home) / user, WEEK, run_id=user, **settings).code
            finally:
                os._exit(code)
        children.append(child)
    assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, "not all were alive at once"
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def too_early(requests: list[dict[str, Any]]) -> list[str]:
    """Requests that came before the time that the last answer to the same runner had named."""
    by_runner: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in sorted(requests, key=lambda one: one["at"]):
        by_runner[one["x-request-id"]].append(one)
    return [
        f"{runner}: {after['endpoint']} came {after['at'] - before['at']:.3f} s after a 503"
        for runner, some in by_runner.items()
        for before, after in pairwise(some)
        if before["status"] == 503 and after["at"] - before["at"] < RETRY_AFTER
    ]


def gathered(runners: int, chance: float, **settings: Any) -> dict[str, Any]:
    """What the server saw of a crowd whose requests it turned away by that chance. Fails where one did not complete."""
    with ExitStack() as stack:
        gathering = Gathering(stack, runners)
        if chance:
            gathering.fault(kind="status", status=503, retry_after=f"{RETRY_AFTER:.0f}", times=-1, chance=chance)
        codes = gathering.run_all(**settings)
        record = gathering.record()
    assert codes == {0: runners}, codes
    assert Counter(job["status"] for job in record["jobs"]) == {"completed": runners}
    return record


def longest(record: dict[str, Any]) -> float:
    """Seconds that the longest job took."""
    times = [[datetime.fromisoformat(job[name]) for name in ("start_time", "end_time")] for job in record["jobs"]]
    return max((ended - began).total_seconds() for began, ended in times)


def summed(runners: int, plain: list[dict[str, Any]], faulted: list[dict[str, Any]]) -> Figures:
    """The figures of the requests without and with faults. Fails where they are too many, or one came too early."""
    early = too_early(faulted)
    assert not early, early[:20]
    assert len(faulted) <= MOST_REQUESTS * len(plain), (len(plain), len(faulted))
    return {
        "runners": runners,
        "alive at once": runners,
        "completed": runners,
        "requests without faults": len(plain),
        "requests": len(faulted),
        "times": round(len(faulted) / len(plain), 3),
        "answered 503": round(sum(one["status"] == 503 for one in faulted) / len(faulted), 3),
        "before Retry-After": 0,
    }


def crowd(runners: int = 200, chance: float = 0.2) -> Figures:
    """All complete, few requests more than without faults, and none before its time."""
    plain, faulted = (gathered(runners, share) for share in (0.0, chance))
    lengths = [round(longest(record), 1) for record in (plain, faulted)]
    assert max(lengths) < 1.5 * JOB_SECONDS, f"the sandbox did not keep up: jobs of {lengths} seconds"
    return {**summed(runners, plain["requests"], faulted["requests"]), "longest jobs, seconds": lengths}


if __name__ == "__main__":
    print(json.dumps(run_each(**json.load(sys.stdin))))
