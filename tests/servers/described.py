"""A server of an API that is not here: it speaks from the API's published description, and holds both sides to it."""
# Decision 0036.

import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import yaml
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

DESCRIPTIONS = Path(__file__).parent / "described"
Query = ImmutableMultiDict[str, str]
Said = tuple[int, Any]  # status and JSON body; no body for None


@dataclass(frozen=True, slots=True)
class Text:
    """A body that is no JSON."""

    text: str
    content_type: str = "text/plain"


class Speaker(Protocol):
    """What an API does: its jobs, and an answer for each request."""

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said: ...


def description(name: str) -> dict[str, Any]:
    """The extract of an API's description."""
    loaded: dict[str, Any] = yaml.safe_load((DESCRIPTIONS / f"{name}.yaml").read_text(encoding="utf-8"))
    return {**loaded, "servers": [{"url": "/"}]}


class DescribedServer:
    """Serves `speaker` on loopback while the `with` block lasts; `misfits` is what did not keep to the description."""

    def __init__(self, name: str, speaker: Speaker) -> None:
        self._described: Any = OpenAPI.from_dict(description(name))
        self._speaker = speaker
        self._speaking = threading.Lock()
        self.misfits: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._connection())
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "DescribedServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _connection(self) -> type[http.server.BaseHTTPRequestHandler]:
        described = self

        class Connection(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body = described.said(self.command, self.path, Headers(self.headers.items()), raw)
                content = _content(body)
                self.send_response_only(status)
                self.send_header("Date", self.date_time_string())
                if body is not None:
                    self.send_header("Content-Type", _content_type(body))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *values: object) -> None:
                """Quiet."""

        return Connection

    def said(self, method: str, target: str, headers: Headers, raw: bytes) -> Said:
        """The answer to one request; both are held against the description."""
        url = urlsplit(target)
        query = parse_qsl(url.query)
        request = SimpleNamespace(
            host_url="http://api",
            path=url.path,
            full_url_pattern=f"http://api{url.path}",
            method=method.lower(),
            parameters=RequestParameters(query=ImmutableMultiDict(query), header=headers),
            body=raw or None,
            content_type=headers.get("Content-Type", ""),
        )
        with self._speaking:
            status, body = self._speaker.answer(
                method, url.path.strip("/").split("/"), ImmutableMultiDict(query), json.loads(raw or b"null"),
                headers.get("Authorization", ""),
            )  # fmt: skip
            content = None if body is None else _content(body)
            answer = SimpleNamespace(
                data=content, status_code=status, headers=Headers(), content_type=_content_type(body) if content else ""
            )
            self._judge(request, answer)
        return status, body

    def _judge(self, request: Any, answer: Any) -> None:
        asked = f"{request.method.upper()} {request.path}"
        if answer.status_code == 401:
            return  # the descriptions leave the lack of a token out
        checks: dict[str, Callable[[], object]] = {
            "request": lambda: self._described.validate_request(request),
            f"answer {answer.status_code}": lambda: self._described.validate_response(request, answer),
        }
        for which, check in checks.items():
            try:
                check()
            except Exception as fault:
                self.misfits.append(f"{asked}, {which}: {fault} {fault.__cause__ or ''}")


def _content(body: Any) -> bytes:
    if isinstance(body, Text):
        return body.text.encode()
    return b"" if body is None else json.dumps(body).encode()


def _content_type(body: Any) -> str:
    return body.content_type if isinstance(body, Text) else "application/json"
