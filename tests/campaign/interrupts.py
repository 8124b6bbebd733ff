"""SIGTERM to the first process of real containers at random instants: `python -m tests.campaign.jobs interrupts`.

The image is `sync-runner:dev` (`make image`); the containers have no rights, no place to write and a user without a name.
"""

import json
import math
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.sandbox import data
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.figures import Figures

HARDENED = ("--read-only", "--user", "12345", "--cap-drop", "ALL", "--network", "host")
PASSWORD = "pass word of the campaign"
MAX_SECONDS, P99_SECONDS = 8.0, 5.0
PATIENCE = 60.0
OWN = ("env", "sync-runner", "python", "python3", "python3.13")  # what the image's first process is called


@dataclass(frozen=True)
class Shot:
    """One container that was sent a SIGTERM `after` so many seconds of its life, and ended `seconds` later."""

    user: str
    after: float
    seconds: float
    code: int
    report: dict[str, Any] | None
    stderr: str


class Range:
    """The sandboxes (jobs that never end, and jobs of a second), the Pushgateway, and the secrets of each user."""

    def __init__(self, stack: ExitStack, image: str, options: Sequence[str] = ()) -> None:
        self.image, self.options = image, options
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.home.chmod(0o755)
        data.generate(self.home / "data", 7, SandboxSettings().last_day)
        self.servers = [
            stack.enter_context(
                SandboxServer(SandboxSettings(port=0, kdf="fast", data=self.home / "data", job_seconds=seconds))
            )
            for seconds in (600.0, 1.0)
        ]
        self.gateway = stack.enter_context(pushgateway())

    def shoot(self, number: int, rng: random.Random, life: float) -> Shot:
        """One container, started, and signalled within its `life`; for an endless one it is left to end by itself."""
        server = self.servers[number % 2]
        user = f"user-{number}"
        server.sandbox.accounts.put(user, PASSWORD, "", "none")
        secrets = self.home / user
        secrets.mkdir()
        (secrets / "username").write_text(user)
        (secrets / "password").write_text(PASSWORD)
        name = f"interrupts-{uuid.uuid4().hex[:12]}"
        common = ("--base-url", server.base_url, "--set", f"metrics.pushgateway.url={self.gateway}")
        more = ("--set", f"metrics.pushgateway.instance={user}", "--report", "-", *self.options)
        mounted = ("--volume", f"{secrets}:/run/secrets:ro")
        words = ("create", "--name", name, *HARDENED, *mounted, self.image, "run", "health", *common, *more)
        container = _docker(*words).stdout.strip()
        try:
            return self._signalled(user, container, None if life == math.inf else rng.uniform(0.0, life))
        finally:
            _docker("rm", "--force", "--volumes", name)

    def _signalled(self, user: str, container: str, after: float | None) -> Shot:
        started = subprocess.Popen(["docker", "start", container], stdout=subprocess.DEVNULL)
        process = _first_process(container)
        with os.fdopen(os.pidfd_open(process), "rb", closefd=True) as handle:
            began = time.monotonic()
            select.select([handle], [], [], PATIENCE if after is None else after)
            sent = time.monotonic()
            try:
                os.kill(process, signal.SIGTERM)
            except ProcessLookupError:
                sent = time.monotonic()  # it had ended by itself
            ended, _, _ = select.select([handle], [], [], PATIENCE)
            seconds = time.monotonic() - sent if ended else math.inf
        if not ended:
            _docker("kill", container)
        started.wait()
        code = int(_docker("wait", container).stdout)
        logs = _docker("logs", container)
        try:
            report = json.loads(logs.stdout)
        except ValueError:
            report = None
        return Shot(user, sent - began, seconds, code, report, logs.stderr)

    def jobs(self, user: str) -> list[str]:
        """The states of the user's jobs, at both servers."""
        sql = "SELECT status FROM jobs WHERE user_id=(SELECT id FROM users WHERE username=?)"
        return [row["status"] for server in self.servers for row in server.sandbox.state.all(sql, user)]

    def pushed(self) -> dict[str, int]:
        """The exit code that each user's run has pushed."""
        with urllib.request.urlopen(f"{self.gateway}/api/v1/metrics", timeout=PATIENCE) as answer:
            groups = json.load(answer)["data"]
        return {
            group["labels"]["instance"]: int(group["sync_runner_last_run_exit_code"]["metrics"][0]["value"])
            for group in groups
            if "sync_runner_last_run_exit_code" in group
        }


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=2 * PATIENCE)


def _first_process(container: str) -> int:
    """The container's first process, as this machine numbers it, as soon as it is the image's own."""
    procs = Path(f"/sys/fs/cgroup/pids/docker/{container}/cgroup.procs")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            first = procs.read_text().split()[:1]
            if first and Path(f"/proc/{first[0]}/comm").read_text().strip() in OWN:  # and no more the engine's helper
                return int(first[0])
        except OSError:
            pass
        time.sleep(0.0005)
    raise AssertionError("the container does not start")


@contextmanager
def pushgateway() -> Iterator[str]:
    """A Pushgateway on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    only_here = "--persistence.file="  # Debian's would begin with what others have pushed
    words = ["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", only_here]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                threading.Event().wait(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def faults_of(shot: Shot, jobs: Sequence[str], pushed: int | None) -> Iterator[str]:
    """What a shot shows to be wrong."""
    if shot.code not in (143, 0):
        yield f"code {shot.code}: {shot.stderr[-500:]}"
    if shot.seconds > MAX_SECONDS:
        yield f"ended only after {shot.seconds:.2f} s"
    if shot.report is None or shot.report["exit_code"] != shot.code:
        yield "no report, or one with another code"
    if pushed != shot.code:
        yield f"pushed: {pushed}, code {shot.code}"
    if len(jobs) > 1 or {"pending", "running"} & {*jobs}:
        yield f"jobs still run, or too many: {jobs}"
    if "Traceback" in shot.stderr:
        yield "a traceback"


def interrupts(
    shots: int = 520, at_once: int = 4, image: str = "sync-runner:dev", options: Sequence[str] = (), seed: int = 1
) -> Figures:
    """Containers signalled over their whole life. Fails where one does not end as promised."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        place = Range(stack, image, options)
        with ThreadPoolExecutor(at_once) as pool:
            whole = [1 - 2 * at_once + 2 * number for number in range(at_once)]  # of the sandbox whose jobs end
            life = max(pool.map(lambda number: place.shoot(number, rng, math.inf).after, whole))
            made = list(pool.map(lambda number: place.shoot(number, random.Random(rng.random()), life), range(shots)))
        pushed = place.pushed()
        wrong = [
            f"{shot.user}, {shot.after:.3f} s: {fault}"
            for shot in made
            for fault in faults_of(shot, place.jobs(shot.user), pushed.get(shot.user))
        ]
        states = Counter(state for shot in made for state in place.jobs(shot.user))
    seconds = sorted(shot.seconds for shot in made if shot.code == 143)
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])
    p99 = seconds[math.ceil(0.99 * len(seconds)) - 1]
    assert p99 <= P99_SECONDS, p99
    return {
        "signals": len(made),
        "over a life of seconds": round(life, 2),
        "codes": dict(Counter(shot.code for shot in made)),
        "jobs at the server": dict(states),
        "ended by the signal": len(seconds),
        "p50 seconds": round(seconds[len(seconds) // 2], 3),
        "p99 seconds": round(p99, 3),
        "max seconds": round(seconds[-1], 3),
        "reports": len(made),
        "pushed": len(pushed),
    }
