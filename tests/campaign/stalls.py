"""Everything outside that can stall, times what ends the run: its deadline, and SIGTERM. Real processes and sockets.

`python -m tests.campaign.stalls` prints how late each run ended: after its deadline, and after the signal.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.figures import Figures, main
from tests.support import forked

HANGS = 60.0  # seconds
DEADLINE = 3.0
PHASES = ("connect", "TLS", "headers", "dripping headers", "body", "dripping body")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
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


@contextlib.contextmanager
def stalled(phase: str) -> Iterator[int]:
    """The port of a server that goes no further than that phase."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = server.getsockname()[1]
        over = threading.Event()
        stack.callback(over.set)
        if phase == "connect":  # a full queue: nobody's connection is accepted
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
        else:
            threading.Thread(target=_serve, args=(server, phase, over), daemon=True).start()
        yield port


def _serve(server: socket.socket, phase: str, over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, phase, over), daemon=True).start()


def _answer(connection: socket.socket, phase: str, over: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        if phase not in ("TLS", "headers"):
            connection.recv(65536)
            connection.sendall(HEAD if "body" in phase else b"HTTP/1.1 200 OK\r\n")
        drip = {"dripping headers": b"X-More: 1\r\n", "dripping body": b" "}.get(phase)
        while not over.wait(0.2):
            if drip:
                connection.sendall(drip)


@dataclass
class Case:
    """One thing that stalls: the settings that lead there."""

    api: str | None = None  # in place of the sandbox
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    begun: str = "sync.started"  # the event after which it stalls
    freeze: Path | None = None  # what makes it stall, put there at that event


@contextlib.contextmanager
def case(name: str, home: Path) -> Iterator[Case]:
    """The case of that name: `WHAT: PHASE`."""
    what, _, phase = name.partition(": ")
    with stalled(phase) as port:
        url = f"http://127.0.0.1:{port}"
        if what == "API":
            yield Case(f"https://127.0.0.1:{port}" if phase == "TLS" else url)
        elif what == "proxy":
            yield Case("https://sync.example.org", environment={"HTTPS_PROXY": url})
        elif what == "DNS":
            (home / "sitecustomize.py").write_text(NAMELESS)
            yield Case("https://sync.example.org", environment={"PYTHONPATH": str(home)})
        elif what == "state directory":
            yield _frozen(home, phase)
        elif what == "Kubernetes":
            yield _cluster(home, port)
        elif what == "PostgreSQL":
            yield Case(settings={"state.url": f"postgresql://me@127.0.0.1:{port}/x"}, begun="run.started")
        else:
            yield Case(settings={OUTPUTS[what]: url}, begun="sync.triggered")


def _frozen(home: Path, phase: str) -> Case:
    """A state directory that hangs from the start, or once a job was triggered."""
    state, mark = home / "state", home / "frozen"
    state.mkdir(mode=0o700)
    (home / "sitecustomize.py").write_text(FROZEN.format(place=str(state), mark=str(mark)))
    chosen = {"state.dir": str(state)}
    environment = {"PYTHONPATH": str(home)}
    if phase == "from the start":
        mark.touch()
        return Case(settings=chosen, environment=environment, begun="run.started")
    return Case(settings=chosen, environment=environment, begun="sync.triggered", freeze=mark)


def _cluster(home: Path, port: int) -> Case:
    """A pod whose API server hangs."""
    import certifi

    account = home / "account"
    account.mkdir()
    for name, text in (("token", "the-token"), ("namespace", "syncs"), ("ca.crt", Path(certifi.where()).read_text())):
        (account / name).write_text(text)
    told = f"import pathlib\nfrom runner.state import kubernetes\nkubernetes.Cluster.of_pod.__func__.__defaults__ = (pathlib.Path({str(account)!r}),)\n"
    (home / "sitecustomize.py").write_text(told)
    environment = {
        "PYTHONPATH": str(home),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(port),
    }
    return Case(settings={"state.kubernetes_secret": "sessions"}, environment=environment, begun="run.started")


OUTPUTS = {
    "Pushgateway": "metrics.pushgateway.url",
    "OTLP": "metrics.otlp.endpoint",
    "ping": "notify.ping.url",
    "webhook": "notify.webhook.url",
}
CASES = (
    *(f"API: {phase}" for phase in PHASES),
    *(f"proxy: {phase}" for phase in ("connect", "headers", "dripping headers")),
    "DNS: headers",
    *(f"PostgreSQL: {phase}" for phase in ("connect", "headers")),
    *(f"Kubernetes: {phase}" for phase in ("connect", "TLS")),
    *(f"state directory: {phase}" for phase in ("from the start", "in mid-run")),
    *(f"{what}: {phase}" for what in OUTPUTS for phase in PHASES if phase != "TLS"),
)


@dataclass(frozen=True)
class Ended:
    """How a run ended, and how many seconds after what ended it."""

    code: int
    late: float
    reported: bool


def ended(name: str, by: str) -> Ended:
    """The run of that case, ended `by` its deadline or a signal."""
    with (
        tempfile.TemporaryDirectory() as directory,
        SandboxServer(SandboxSettings(port=0, kdf="fast", job_seconds=600.0, mfa="none")) as server,
        case(name, Path(directory)) as made,
    ):
        home = Path(directory)
        write_secrets(home / "secrets", server.credentials)
        report = home / "report.json"
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
        told = _run([*words, "run", "health"], made, by)
        return Ended(*told, report.exists() and json.loads(report.read_text())["exit_code"] == told[0])


def _run(words: list[str], made: Case, by: str) -> tuple[int, float]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "GITHUB_"))}
    with forked.start(words, {**kept, **made.environment}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines, since = [], None
        killer = threading.Timer(HANGS, process.kill)
        killer.start()
        for line in process.stderr:
            lines.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if made.freeze and event.get("event") == made.begun:
                made.freeze.touch()
            if by == "deadline" and event.get("event") == "run.started":
                since = datetime.fromisoformat(event["timestamp"]).timestamp() + DEADLINE
            elif by == "SIGTERM" and since is None and event.get("event") == made.begun:
                time.sleep(0.3)  # until it waits
                since = time.time()
                process.send_signal(signal.SIGTERM)
        code = process.wait()
        late = time.time() - (since or 0.0)
        killer.cancel()
    if since is None:
        raise AssertionError("".join(lines))
    return code, round(late, 2)


def stalls() -> Figures:
    """Every case, ended by its deadline and by a signal."""
    told = {name: {by: ended(name, by) for by in ("deadline", "SIGTERM")} for name in CASES}
    figures = {name: {by: (one.code, one.late) for by, one in ends.items()} for name, ends in told.items()}
    worst = {by: max(ends[by].late for ends in told.values()) for by in ("deadline", "SIGTERM")}
    assert all(one.reported for ends in told.values() for one in ends.values()), figures
    assert worst["SIGTERM"] <= 8.0, figures
    return {"cases": len(told), "latest": worst, "ends": figures}


if __name__ == "__main__":
    main({"stalls": stalls}, __doc__)
