"""An API whose jobs leave logs, results and files, and a profile for it."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.in_process import RunOutput, run_here
from tests.support.scripted_api import Answers, Route, ScriptedApi

JOBS: dict[str, Any] = {
    "trigger": {"request": {"method": "POST", "path": "/jobs", "json": {"type": "${sync_type}"}}},
    "status": {"request": {"path": "/jobs/${job_id}"}},
}


def job(*states: str, job_id: Any = 7, **more: Any) -> dict[str, Route]:
    """The routes of a job that goes through these states."""
    shown: list[Answers] = [Answers({"job_id": job_id, "status": state, **more}) for state in states]
    return {"POST /jobs": Answers({"job_id": job_id, "status": "pending"}, 201), f"GET /jobs/{job_id}": shown}


def profile(home: Path, **jobs: Any) -> Path:
    """A profile file whose `jobs` say more than how they are triggered and polled."""
    path = home / "own.yaml"
    made = {"version": 1, "description": "test", "auth": {"secrets": [], "headers": {}}, "jobs": {**JOBS, **jobs}}
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


def run(api: ScriptedApi | str, home: Path, *, syncs: Any = "nightly", jobs: Any = None, **settings: Any) -> RunOutput:
    """Run the syncs by such a profile."""
    (home / "secrets").mkdir(exist_ok=True)
    url = api if isinstance(api, str) else api.base_url
    return run_here(url, home / "secrets", syncs, profile=str(profile(home, **(jobs or {}))), **settings)


Behave = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(behaviours: dict[str, Behave], rest: ScriptedApi) -> Iterator[str]:
    """The address of a server whose GETs of these paths do as they are told; for all others it sends on to `rest`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            if path in behaviours:
                behaviours[path](self)
            else:
                self._pass_on()

        def _pass_on(self) -> None:
            import httpx

            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = httpx.request(self.command, rest.base_url + self.path, content=content, trust_env=False)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _answer

        def log_message(self, *values: object) -> None:
            """Quiet."""

        def handle(self) -> None:
            with suppress(OSError):  # the runner goes away, as some tests want
                super().handle()

    socketserver.TCPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def chunked(handler: BaseHTTPRequestHandler, pieces: Iterator[bytes], content_type: str = "text/plain") -> None:
    """Send the pieces as they come, in chunks of HTTP."""
    handler.send_response(200)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")
