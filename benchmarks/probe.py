"""Starts the import floor and the runner in turn, and prints what each took as a line of JSON. Only Python's own library.

Arguments: rounds, the runner's Python, its command, the floor's import statement. Sent to an interpreter on standard input.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROUNDS = int(sys.argv[1])
PYTHON, COMMAND, FLOOR = sys.argv[2:5]
SECRETS = {"username": "demo", "password": "some-password", "totp_seed": "GEZDGNBVGY3TQOJQ"}
JOB = {"job_id": "1", "status": "completed", "progress": 100, "user_id": "1", "sync_type": "health"}
SESSION = {
    "access_token": "a" * 40,
    "refresh_token": "r" * 40,
    "expires_in": 86400,
    "token_type": "Bearer",
    "user": {"id": "1"},
}
seen: list[float] = []  # monotonic times of requests


class Handler(BaseHTTPRequestHandler):
    """An API whose job is over at its first poll."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        seen.append(time.monotonic())
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._json(SESSION if "login" in self.path else {**JOB, "status": "running", "progress": 0})

    def do_GET(self) -> None:
        self._json({"jobs": [JOB]})

    def _json(self, body: Any) -> None:
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        self.wfile.write(head.encode() + raw)  # in one write: no part of it waits for an acknowledgement

    def log_message(self, *_values: object) -> None:
        """Quiet."""


def started(command: list[str]) -> tuple[float, int]:
    """Seconds, seconds of CPU and peak KiB of a process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SYNC_RUNNER_", "PYTHON"))}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} left with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def timed(command: list[str]) -> dict[str, Any]:
    """What one start takes: first request (None without one), whole, CPU, memory."""
    seen.clear()
    began = time.monotonic()
    cpu, memory = started(command)
    whole = time.monotonic() - began
    return {"first": seen[0] - began if seen else None, "whole": whole, "cpu": cpu, "memory": memory}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = pathlib.Path(name)
        (home / "secrets").mkdir()
        for key, value in SECRETS.items():
            (home / "secrets" / key).write_text(value)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = [COMMAND, "--base-url", f"http://127.0.0.1:{server.server_port}", "--secrets-dir", str(home / "secrets")]
        kept, fresh = (["--set", f"state.dir={home / place}", "run", "health"] for place in ("kept", "fresh"))
        contenders = {
            "floor": [PYTHON, "-c", FLOOR],
            "run": [*run, *kept],
            "login": [*run, *fresh],
            "help": [COMMAND, "--help"],
        }
        rounds = []
        for _ in range(ROUNDS + 1):  # the first fills the page cache, and logs in for `run`
            rounds.append({label: timed(command) for label, command in contenders.items()})
            subprocess.run(["rm", "-rf", str(home / "fresh")], check=True)
    show(rounds[1:])


def show(rounds: list[dict[str, Any]]) -> None:
    def ratio(label: str, what: str, of: str) -> float:
        return statistics.median(float(one[label][what] / one["floor"][of]) for one in rounds)

    ratios = {
        "first": ratio("run", "first", "whole"),
        "login": ratio("login", "first", "whole"),
        "whole": ratio("run", "whole", "whole"),
        "cpu": ratio("run", "cpu", "cpu"),
        "help": ratio("help", "whole", "whole"),
        "memory": ratio("run", "memory", "memory"),
    }
    ms = {label: 1000 * statistics.median(one[label]["whole"] for one in rounds) for label in rounds[0]}
    ms["first"] = 1000 * statistics.median(one["run"]["first"] for one in rounds)
    print(json.dumps({"python": platform.python_version(), "rounds": len(rounds), "ratios": ratios, "ms": ms}))


main()
