"""A reverse proxy that keeps every exchange whole, for judging the runner's requests from outside."""

import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

import httpx

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "date", "server"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer: bytes


@dataclass
class RecordingProxy:
    """Forwards to `upstream` on a port of its own while the `with` block lasts.

    The answer to the next request whose path ends in `lose` never arrives, though `upstream` has given it. `rewrite` changes the
    body of each answer.
    """

    upstream: str
    lose: str | None = None
    rewrite: Callable[[bytes], bytes] = bytes
    exchanges: list[Exchange] = field(default_factory=list)
    base_url: str = ""

    def __enter__(self) -> "RecordingProxy":
        proxy = self

        class Forward(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                expired = {name: value for name, value in headers.items() if name not in {*_HOP, "host"}}
                answer = httpx.request(
                    self.command, proxy.upstream + self.path, content=body, headers=expired, timeout=30
                )
                parts = urlsplit(self.path)
                proxy.exchanges.append(
                    Exchange(
                        self.command, parts.path, parse_qsl(parts.query), headers, body,
                        answer.status_code, dict(answer.headers), answer.content,
                    )
                )  # fmt: skip
                if proxy.lose and parts.path.endswith(proxy.lose):
                    proxy.lose = None
                    self.close_connection = True
                    return
                self.send_response_only(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in _HOP - {"date"}:
                        self.send_header(name, value)
                content = proxy.rewrite(answer.content)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *values: object) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forward)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()
