"""A small API that answers as it is told and notes what it was asked: for what a profile can say of APIs."""

import http.server
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answers:
    """An answer: its status, JSON body (or `raw` bytes), headers (a list where one stands more than once)."""

    body: Any = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None


Route = Answers | list[Answers] | Callable[[Asked], Answers]


@dataclass
class ScriptedApi:
    """Serves `routes`, each `METHOD /path`: one answer, several in turn (the last goes on), or a function."""

    routes: dict[str, Route]
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "ScriptedApi":
        """Serve on a free port of loopback."""
        self.serve()
        return self

    def serve(self, port: int = 0) -> None:
        """Serve on that port of loopback; 0: a free one."""
        api = self

        class Answering(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = Asked(self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), raw)
                said = api._said(seen)
                body = (
                    said.raw if said.raw is not None else b"" if said.body is None else json.dumps(said.body).encode()
                )
                self.send_response(said.status)
                for name, value in (*said.headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *values: object) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answering)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _said(self, seen: Asked) -> Answers:
        self.asked.append(seen)
        route = self.routes.get(f"{seen.method} {seen.path}", Answers({"error": "no such place"}, 404))
        if isinstance(route, list):
            return route.pop(0) if len(route) > 1 else route[0]
        return route(seen) if callable(route) else route

    def at(self, path: str) -> list[Asked]:
        """What was asked at that path."""
        return [one for one in self.asked if one.path == path]
