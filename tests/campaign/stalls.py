"""Everything outside that can stall, times what ends the run: its deadline, and SIGTERM. Real processes and sockets.

`python -m tests.campaign.stalls` prints how late each run ended: after its deadline, and after the signal. With `image=IMAGE`
each run is a container, and its engine says when it ended.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from runner.state.kubernetes import SERVICE_ACCOUNT
from tests.campaign.figures import Figures, main
from tests.support import forked
from tests.support.kubernetes_api import api_server, certificate
from tests.support.postgresql import PASSWORD, postgresql
from tests.support.stalling import PHASES, Relay, stalled

HANGS = 60.0  # seconds
DEADLINE = 3.0
# A resolver that never answers, in every thread that asks it.
NAMELESS = "import socket, time\nreal = socket.getaddrinfo\n"
NAMELESS += (
    "socket.getaddrinfo = lambda host, *a, **k: real(host, *a, **k) if host == '127.0.0.1' else time.sleep(600)\n"
)
# Each call on a file below the state directory hangs, as on a mount whose server is gone, once a file named `frozen` is there.
FROZEN = """
import os, sqlite3, sys, time
place, mark, exists = {place!r}, {mark!r}, os.path.exists
def wait(path):
    told = os.readlink(f"/proc/self/fd/{{path}}") if isinstance(path, int) else os.fsdecode(path)
    while told.startswith(place) and exists(mark):
        time.sleep(1)
def frozen(call):
    def slow(path, *values, **named):
        wait(path)
        return call(path, *values, **named)
    return slow
for name in ("stat", "lstat", "fstat", "mkdir", "listdir", "rename", "replace", "unlink", "fsync", "write"):
    setattr(os, name, frozen(getattr(os, name)))
opened = os.open
def slow_open(path, flags, mode=0o777, *, dir_fd=None):
    wait(path if dir_fd is None else dir_fd)
    return opened(path, flags, mode, dir_fd=dir_fd)
os.open = slow_open
class Connection(sqlite3.Connection):
    def execute(self, *values):
        wait(place)
        return super().execute(*values)
connect = sqlite3.connect
sqlite3.connect = lambda *values, **named: (wait(place), connect(*values, **{{"factory": Connection, **named}}))[1]
"""


@dataclass
class Case:
    """One thing that stalls: the settings that lead there."""

    api: str | None = None  # in place of the sandbox
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    begun: str = "sync.started"  # the event after which it stalls
    freeze: Callable[[], object] | None = None  # what makes it stall, at that event
    mounts: dict[str, str] = field(default_factory=dict)  # in a container: file or directory here, and there


class Place(Protocol):
    """Where the runs are processes, and what stalls there in another way than over a port."""

    def names(self, home: Path) -> AbstractContextManager[Case]:
        """A resolver that never answers."""

    def state(self, home: Path, at_start: bool) -> AbstractContextManager[Case]:
        """A state directory that hangs, from the start or once a job was triggered."""

    def cluster(self, home: Path, port: int) -> AbstractContextManager[Case]:
        """A pod whose API server is at that port."""

    def start(self, words: list[str], made: Case, home: Path) -> "subprocess.Popen[Any]":
        """The command line, whose standard error is a pipe."""

    def ended(self, process: "subprocess.Popen[Any]") -> float:
        """When the process that has ended did, in Unix seconds."""


class Here:
    """Processes of this machine; what stalls is made by a `sitecustomize.py`."""

    @contextlib.contextmanager
    def names(self, home: Path) -> Iterator[Case]:
        (home / "sitecustomize.py").write_text(NAMELESS)
        yield Case("https://sync.example.org", environment={"PYTHONPATH": str(home)})

    @contextlib.contextmanager
    def state(self, home: Path, at_start: bool) -> Iterator[Case]:
        state, mark = home / "state", home / "frozen"
        state.mkdir(mode=0o700)
        (home / "sitecustomize.py").write_text(FROZEN.format(place=str(state), mark=str(mark)))
        if at_start:
            mark.touch()
        begun = "run.started" if at_start else "sync.triggered"
        yield Case(None, {"state.dir": str(state)}, {"PYTHONPATH": str(home)}, begun, mark.touch)

    @contextlib.contextmanager
    def cluster(self, home: Path, port: int) -> Iterator[Case]:
        made = pod(home, port)
        told = f"(pathlib.Path({next(iter(made.mounts))!r}),)"
        (home / "sitecustomize.py").write_text(
            "import pathlib\nfrom runner.state import kubernetes\n"
            f"kubernetes.Cluster.of_pod.__func__.__defaults__ = {told}\n"
        )
        made.environment["PYTHONPATH"] = str(home)
        yield made

    def start(self, words: list[str], made: Case, home: Path) -> "subprocess.Popen[Any]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "GITHUB_"))}
        return forked.start(words, {**kept, **made.environment}, stderr=subprocess.PIPE, text=True)

    def ended(self, process: "subprocess.Popen[Any]") -> float:
        return time.time()


@contextlib.contextmanager
def case(name: str, home: Path, place: Place, api: int) -> Iterator[Case]:
    """The case of that name, `WHAT: PHASE`, at an API with that port."""
    what, _, phase = name.partition(": ")
    running = phase == "in mid-run"
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(stalled(phase))
        url = f"http://127.0.0.1:{port}"
        if what == "API" and running:
            between = Relay(stack, api)
            yield Case(f"http://127.0.0.1:{between.port}", begun="sync.triggered", freeze=between.freeze)
        elif what == "API":
            yield Case(f"https://127.0.0.1:{port}" if phase == "TLS" else url)
        elif what == "proxy":
            yield Case("https://sync.example.org", environment={"HTTPS_PROXY": url})
        elif what == "DNS":
            yield stack.enter_context(place.names(home))
        elif what == "state directory":
            yield stack.enter_context(place.state(home, phase == "from the start"))
        elif what == "Kubernetes":
            relay = Relay(stack, stack.enter_context(api_server(home, certificate(home))).port) if running else None
            made = stack.enter_context(place.cluster(home, relay.port if relay else port))
            yield made if relay is None else replace(made, begun="sync.triggered", freeze=relay.freeze)
        elif what == "PostgreSQL" and running:
            between = Relay(stack, stack.enter_context(postgresql()).port)
            url = f"postgresql://runner@127.0.0.1:{between.port}/postgres"
            (home / "secrets").mkdir(mode=0o700)
            (home / "secrets" / "state_password").write_text(PASSWORD)
            yield Case(settings={"state.url": url}, begun="sync.triggered", freeze=between.freeze)
        elif what == "PostgreSQL":
            yield Case(settings={"state.url": f"postgresql://me@127.0.0.1:{port}/x"}, begun="run.started")
        else:
            yield Case(settings={OUTPUTS[what]: url}, begun="sync.triggered")


def pod(home: Path, port: int) -> Case:
    """A pod whose API server is at that port, with the files of its service account."""
    import certifi

    account = home / "account"
    if not account.exists():
        account.mkdir()
        files = {"token": "the-token", "namespace": "syncs", "ca.crt": Path(certifi.where()).read_text()}
        for name, text in files.items():
            (account / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    mounts = {str(account): str(SERVICE_ACCOUNT)}
    return Case(None, {"state.kubernetes_secret": "sessions"}, environment, "run.started", mounts=mounts)


OUTPUTS = {
    "Pushgateway": "metrics.pushgateway.url",
    "OTLP": "metrics.otlp.endpoint",
    "ping": "notify.ping.url",
    "webhook": "notify.webhook.url",
}
CASES = (
    *(f"API: {phase}" for phase in (*PHASES, "in mid-run")),
    *(f"proxy: {phase}" for phase in ("connect", "headers", "dripping headers")),
    "DNS: headers",
    *(f"PostgreSQL: {phase}" for phase in ("connect", "headers", "in mid-run")),
    *(f"Kubernetes: {phase}" for phase in ("connect", "TLS", "in mid-run")),
    *(f"state directory: {phase}" for phase in ("from the start", "in mid-run")),
    *(f"{what}: {phase}" for what in OUTPUTS for phase in PHASES if phase != "TLS"),
)


@dataclass(frozen=True)
class Ended:
    """How a run ended, and how many seconds after what ended it; and how many of its jobs the API still runs."""

    code: int
    late: float
    reported: bool
    orphans: int


def ended(name: str, by: str, place: Place | None = None) -> Ended:
    """The run of that case, ended `by` its deadline or a signal."""
    place = place or Here()
    with (
        tempfile.TemporaryDirectory() as directory,
        SandboxServer(SandboxSettings(port=0, kdf="fast", job_seconds=600.0, mfa="none")) as server,
        case(name, Path(directory), place, urlsplit(server.base_url).port or 0) as made,
    ):
        home = Path(directory)
        write_secrets(home / "secrets", server.credentials)
        report = home / "out" / "report.json"
        report.parent.mkdir()
        settings = {"report.file": str(report), **made.settings}
        if by == "deadline":
            settings["deadline.run"] = f"{DEADLINE}s"
        words = [
            "--base-url",
            made.api or server.base_url,
            "--secrets-dir",
            str(home / "secrets"),
            "--log-format",
            "json",
        ]
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        told = _run(place, [*words, "run", "health"], made, by, home)
        reported = report.exists() and json.loads(report.read_text())["exit_code"] == told[0]
        running = server.sandbox.state.all("SELECT 1 FROM jobs WHERE status IN ('pending', 'running')")
        return Ended(*told, reported, len(running))


def _run(place: Place, words: list[str], made: Case, by: str, home: Path) -> tuple[int, float]:
    with place.start(words, made, home) as process:
        assert process.stderr is not None
        lines, since = [], None
        killer = threading.Timer(HANGS, process.kill)
        killer.start()
        for line in process.stderr:
            lines.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if made.freeze and event.get("event") == made.begun:
                made.freeze()
            if by == "deadline" and event.get("event") == "run.started":
                since = datetime.fromisoformat(event["timestamp"]).timestamp() + DEADLINE
            elif by == "SIGTERM" and since is None and event.get("event") == made.begun:
                time.sleep(0.3)  # until it waits
                since = time.time()
                process.send_signal(signal.SIGTERM)
        code = process.wait()
        late = place.ended(process) - (since or 0.0)
        killer.cancel()
    if since is None:
        raise AssertionError("".join(lines))
    return code, round(late, 2)


def stalls(image: str = "") -> Figures:
    """Every case, ended by its deadline and by a signal; each a container where an image is named."""
    from tests.campaign.stalls_in_containers import Containers

    place: Place = Containers(image) if image else Here()
    told = {name: {by: ended(name, by, place) for by in ("deadline", "SIGTERM")} for name in CASES}
    figures = {name: {by: (one.code, one.late) for by, one in ends.items()} for name, ends in told.items()}
    worst = {by: max(ends[by].late for ends in told.values()) for by in ("deadline", "SIGTERM")}
    for name, ends in told.items():  # an API that hangs cannot be asked to cancel
        assert all(one.reported and one.orphans <= (name == "API: in mid-run") for one in ends.values()), (name, ends)
    assert worst["SIGTERM"] <= 8.0, figures
    return {"cases": len(told), "latest": worst, "ends": figures}


if __name__ == "__main__":
    main({"stalls": stalls}, __doc__)
