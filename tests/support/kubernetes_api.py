"""A small API server with one Secret: TLS, bearer token, resource versions, merge patches."""

import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class ApiServer:
    """One Secret, as an API server keeps it."""

    account: Path
    secret: dict[str, Any] | None = field(default_factory=lambda: {"metadata": {"resourceVersion": "1"}})
    failures: list[int] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)  # the body of a failure
    raw: tuple[bytes, str] | None = None  # instead of any answer: a body, and its encoding
    silent: threading.Event | None = None  # no answer before it is set
    requests: list[tuple[str, int]] = field(default_factory=list)
    conflicts: int = 0
    port: int = 0
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, body: Any, headers: Any) -> tuple[int, Any]:
        """One request."""
        with self.mutex:
            if headers["Authorization"] != f"Bearer {(self.account / 'token').read_text()}":
                return 401, {}
            if self.failures:
                return self.failures.pop(0), self.words
            if self.secret is None:
                return 404, {}
            if method == "PATCH":
                assert headers["Content-Type"] == "application/merge-patch+json"
                if self.conflicts or body["metadata"]["resourceVersion"] != self.secret["metadata"]["resourceVersion"]:
                    self.conflicts = max(0, self.conflicts - 1)
                    return 409, {}
                _merge(self.secret, body)
                self.secret["metadata"]["resourceVersion"] += "1"
            return 200, self.secret


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7396."""
    for key, value in patch.items():
        if isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


def certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, made in the directory."""
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=kube"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]  # made and used faster than RSA's
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path / "key"), "-out", str(path / "ca.crt")]
    subprocess.run([*command, *key, *names], check=True, capture_output=True)
    return path


@contextmanager
def api_server(place: Path, certificate: Path) -> Iterator[ApiServer]:
    """The API server with a pod's service account."""
    account = place / "account"
    account.mkdir()
    (account / "token").write_text("the-pods-token")
    (account / "namespace").write_text("syncs\n")
    (account / "ca.crt").write_bytes((certificate / "ca.crt").read_bytes())
    made = ApiServer(account)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
            status: int = 404
            found: Any = {}
            if self.path == "/api/v1/namespaces/syncs/secrets/sessions":
                status, found = made.answer(self.command, body, self.headers)
            made.requests.append((self.command, status))
            if made.silent:
                made.silent.wait(60)
            if made.raw:
                self._send(200, *made.raw)
                return
            content = json.dumps(found).encode() if status == 200 or found else b"<h1>no</h1>"
            self._send(status, content, "identity")

        def _send(self, status: int, content: bytes, encoding: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(content)

        do_PATCH = do_GET

        def log_message(self, *values: object) -> None:
            """Quiet."""

    class Listening(http.server.ThreadingHTTPServer):
        def handle_error(self, *client: object) -> None:
            """A client that has gone is none."""

    with Listening(("127.0.0.1", 0), Handler) as listening:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "ca.crt", certificate / "key")
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        made.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        listening.shutdown()
        thread.join(5)
