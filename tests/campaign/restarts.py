"""A watch that outlives restarts of its API: `python -m tests.campaign.jobs restarts`.

The API is a process on one port that is killed (SIGKILL) and started again; what it knows stands in a file.
"""

import http.server
import json
import multiprocessing
import random
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.campaign.figures import Figures
from tests.campaign.watching import write_secrets_of
from tests.support.in_process import run_here
from tests.support.ports import free_port

PAGE_SECONDS = 0.2  # for which the API answers everything with a page after its start, as n8n does


def _serve(port: int, record: str, job_seconds: float) -> None:
    """The API, until it is killed."""
    started = time.monotonic()
    place = Path(record)

    class Answering(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if time.monotonic() - started < PAGE_SECONDS:
                self._send(404, "text/html", b"<html>Cannot GET</html>")
                return
            self._send(200, "application/json", json.dumps(self._told()).encode())

        def _told(self) -> dict[str, Any]:
            endpoint = self.path.split("?")[0].rsplit("/", 1)[-1]
            if endpoint == "login":
                return {"success": True, "access_token": "t", "expires_in": 3600}
            if endpoint == "trigger":
                with place.open("a") as file:
                    file.write(f"{time.time()}\n")
                return {"success": True, "job_id": "job-1", "status": "pending"}
            since = time.time() - float(place.read_text().splitlines()[0])
            status = "completed" if since >= job_seconds else "running"
            return {"jobs": [{"job_id": "job-1", "sync_type": "health", "status": status}]}

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_values: object) -> None:
            """Quiet."""

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Answering).serve_forever()


class Restarted:
    """The API on a port, killed and started again `times` times within `seconds`; down for up to `down` of each round."""

    def __init__(self, record: Path, seconds: float, times: int, seed: int, down: float = 0.6) -> None:
        self.port = free_port()
        self.record, self.seconds, self.times, self.down = record, seconds, times, down
        self.rng = random.Random(seed)
        self.restarts = 0
        self._over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart, daemon=True)

    def _start(self) -> Any:
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(self.port, str(self.record), self.seconds), daemon=True
        )
        process.start()
        return process

    def _restart(self) -> None:
        """From the trigger on."""
        while not self.record.exists() and not self._over.wait(0.01):
            pass
        each = self.seconds / (self.times + 1)
        began = time.monotonic()
        while self.restarts < self.times and not self._over.wait(
            max(0.0, began + (self.restarts + 0.5) * each - time.monotonic())
        ):
            self._process.kill()
            self._process.join()
            self._over.wait(self.rng.uniform(0.0, self.down) * each)
            self._process = self._start()
            self.restarts += 1

    def __enter__(self) -> "Restarted":
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.05)
        time.sleep(PAGE_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        self._process.kill()
        self._process.join()


def restarts(times: int = 40, seconds: int = 600, seed: int = 0) -> Figures:
    """A job of so many seconds whose API is killed and started again so many times: one trigger, and it is watched to its end."""
    with tempfile.TemporaryDirectory() as home:
        secrets, record = write_secrets_of(Path(home) / "secrets"), Path(home) / "record"
        with Restarted(record, float(seconds), times, seed) as api:
            told = run_here(
                f"http://127.0.0.1:{api.port}", secrets, "health", state=Path(home) / "state",
                deadline={"sync": None, "run": None}, poll={"min": 0.1, "max": 2.0, "patience": 600.0},
                keep=("sync.poll_failed", "sync.ended"),
            )  # fmt: skip
        triggers = len(record.read_text().splitlines())
    assert told.code == 0, told.errors
    assert triggers == 1, triggers
    assert api.restarts == times, api.restarts
    return {"seconds of the job": seconds, "restarts": api.restarts, "triggers": triggers, "exit code": told.code,
            "outages seen": len(told.named("sync.poll_failed"))}  # fmt: skip
