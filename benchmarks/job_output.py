"""Memory, disk and time of a run that reads a large log, or downloads a large file over a connection that is cut.

`python -m benchmarks.job_output log 1024` (MiB), `python -m benchmarks.job_output artifact 2048`. Beside it stands the same run
with 1 MiB. Peak memory is the process's own (`ru_maxrss`), in MiB.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE = (b"2026-11-27T07:00:00Z INFO worker wrote a row of batch 4711 status=ok\n" * 1000)[: 1 << 16]
CUTS = 5
PROFILE = """
version: 1
description: a job with a large log or file
auth: {secrets: [], headers: {}}
jobs:
  trigger: {request: {method: POST, path: /jobs}}
  status: {request: {path: "/jobs/${job_id}"}}
  logs: {request: {path: /log}}
  artifacts: {names: [data.bin], request: {path: "/files/${file}"}}
"""


def serve(listening: socket.socket, size: int) -> None:
    """A server whose log and file have `size` bytes; the file's connection is cut five times."""
    cuts = [size * number // (CUTS + 1) for number in range(1, CUTS + 1)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._json({"job_id": 1, "status": "pending"})

        def do_GET(self) -> None:
            if self.path == "/log":
                self._send(0, size)
            elif self.path.startswith("/files/"):
                wanted = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
                self._send(int(wanted), cuts.pop(0) if cuts else size)
            else:
                self._json({"job_id": 1, "status": "failed"})

        def _json(self, body: Any) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _send(self, start: int, end: int) -> None:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.send_header("ETag", '"one"')
            self.end_headers()
            while start < end:
                at = start % len(PIECE)
                piece = PIECE[at : at + end - start]
                self.wfile.write(piece)
                start += len(piece)
            self.close_connection = end < size

        def log_message(self, *values: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(listening.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


def measure(kind: str, size: int) -> dict[str, Any]:
    """One run with a log or a file of `size` bytes."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = multiprocessing.Process(target=serve, args=(listening, size), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "own.yaml").write_text(PROFILE)
        (home / "secrets").mkdir()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = [
            "logs.show=none",
            f"artifacts.dir={home / 'out'}",
            "artifacts.max_bytes=8GiB",
            "artifacts.max_total_bytes=8GiB",
        ]
        if kind == "log":
            settings = [f"logs.dir={home / 'out'}", "logs.timeout=10m"]
        sets = [word for one in settings for word in ("--set", one)]
        options = ["--base-url", url, "--profile", str(home / "own.yaml"), "--secrets-dir", str(home / "secrets")]
        began = time.monotonic()
        run = subprocess.Popen(
            [sys.executable, "-m", "runner", *options, *sets, "run", "big", "--report", str(home / "report.json")],
            stderr=subprocess.DEVNULL,
        )
        _pid, status, used = os.wait4(run.pid, 0)
        seconds = time.monotonic() - began
        sync = json.loads((home / "report.json").read_text())["syncs"][0]
        found = {
            "MiB": size >> 20, "code": os.waitstatus_to_exitcode(status), "peak_MiB": round(used.ru_maxrss / 1024, 1),
            "seconds": round(seconds, 1), "disk_MiB": round(sum(p.stat().st_size for p in home.rglob("out/**/*") if p.is_file()) / 2**20, 1),
            "last_lines": len(sync["log"]), "whole": kind == "log" or sync["artifacts"][0]["sha256"] == expected(size),
        }  # fmt: skip
    server.terminate()
    return found


def expected(size: int) -> str:
    """The SHA-256 of the file."""
    digest = hashlib.sha256()
    while size > 0:
        digest.update(PIECE[:size])
        size -= len(PIECE)
    return digest.hexdigest()


def main() -> None:
    """Measure both sizes, and print them with the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("log", "artifact"))
    parser.add_argument("size", type=int, help="MiB")
    given = parser.parse_args()
    small, large = (measure(given.kind, size << 20) for size in (1, given.size))
    more = round(large["peak_MiB"] - small["peak_MiB"], 1)
    print(json.dumps({"small": small, "large": large, "more_MiB": more}, indent=1))


if __name__ == "__main__":
    main()
