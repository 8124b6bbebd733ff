"""oauth2-proxy, from its Go module, with a Keycloak as its provider and a small API of jobs behind it, whose record is the judge."""

import json
import os
import subprocess
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers.keycloak_server import BUILD, Keycloak
from tests.servers.processes import Program, answers
from tests.support.ports import free_port

VERSION = "7.15.6"
BEARER = ["--skip-jwt-bearer-tokens", "--skip-provider-button"]
MODES = {
    "cookie": ["--skip-provider-button", "--cookie-refresh=8s", "--pass-basic-auth=false"],
    "bearer": BEARER,
    "page": ["--skip-jwt-bearer-tokens"],
    "strict": [*BEARER, "--bearer-token-login-fallback=false"],
    "json": ["--skip-jwt-bearer-tokens", "--force-json-errors"],
    "api": [*BEARER, "--api-route=^/jobs"],
}
PROFILE = {
    "version": 1, "description": "the API behind the gate", "parameters": {"seconds": {"type": "number", "default": 1}},
    "auth": {"secrets": [], "headers": {}},
    "jobs": {
        "trigger": {"request": {"method": "POST", "path": "/jobs", "json": {"seconds": "${params.seconds}"}}},
        "status": {"request": {"path": "/jobs/${job_id}"}}, "running": {"request": {"path": "/jobs"}},
    },
}  # fmt: skip


def _program() -> Path:
    """oauth2-proxy, built once."""
    program = BUILD / f"oauth2-proxy-{VERSION}" / "oauth2-proxy"
    if not program.exists():
        module = f"github.com/oauth2-proxy/oauth2-proxy/v7@v{VERSION}"
        subprocess.run(["go", "install", module], check=True, env={**os.environ, "GOBIN": str(program.parent)})
    return program


class JobsApi:
    """Jobs that take as many seconds as they are given. `seen` are the requests that came through, `jobs` when each began."""

    def __init__(self, stack: ExitStack) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.jobs: list[tuple[float, float]] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._connection())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        self.base_url = f"http://127.0.0.1:{server.server_address[1]}"

    def job(self, number: int) -> dict[str, Any]:
        """As the API shows it."""
        began, seconds = self.jobs[number]
        done = time.time() >= began + seconds
        return {"job_id": str(number), "status": "completed" if done else "running"}

    def _connection(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Connection(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                api.seen.append((f"{self.command} {self.path}", dict(self.headers.items())))
                if self.command == "POST":
                    api.jobs.append((time.time(), json.loads(raw)["seconds"]))
                    said: Any = api.job(len(api.jobs) - 1)
                else:
                    number = self.path.removeprefix("/jobs").strip("/")
                    said = api.job(int(number)) if number else [api.job(one) for one in range(len(api.jobs))]
                content = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *values: object) -> None:
                """Quiet."""

        return Connection


class Gate:
    """One oauth2-proxy in one of its modes."""

    def __init__(self, home: Path, mode: str, keycloak: Keycloak, api: JobsApi, stack: ExitStack) -> None:
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        command: list[str | Path] = [
            _program(), "--provider=oidc", "--client-id=gate", "--client-secret=gate-100%+", "--email-domain=*",
            "--cookie-secret=0123456789abcdef0123456789abcdef", "--cookie-secure=false", "--code-challenge-method=S256",
            "--scope=openid email profile", f"--http-address=127.0.0.1:{port}", f"--upstream={api.base_url}/",
            f"--redirect-url={self.base_url}/oauth2/callback", f"--oidc-issuer-url={keycloak.base_url}/realms/sync",
            *MODES[mode],
        ]  # fmt: skip
        ready = answers(f"{self.base_url}/ping")
        stack.enter_context(Program(command, {}, home / f"gate-{mode}.log", ready)).wait()
