"""Canaries: secrets that are told apart from all else, and the search for them in whatever a run leaves behind."""

import base64
import html
import json
import random
import re
import secrets as randomness
import string
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

ODD = "\"'<>&%+/\\ é$€#{}"


def canary() -> str:
    """A new secret, with characters that every encoding writes differently."""
    return f"{randomness.token_urlsafe(12)}{''.join(random.choices(ODD + string.ascii_letters, k=8))}x"


def forms(secret: str) -> dict[str, set[str]]:
    """The secret as any writer between it and a reader may have put it down, by the kind of writing."""
    raw = secret.encode()
    encoded = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded.add(encode(raw).decode().rstrip("="))
        for shift in (1, 2):  # behind `user:`, say; the characters at the edges mix with their neighbours
            encoded.add(encode(b"x" * shift + raw).decode().rstrip("=")[2:-1])
    found = {
        "raw": {secret},
        "url": {quote(secret), quote(secret, safe=""), quote_plus(secret)},
        "base64": encoded,
        "json": {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]},
        "markup": {html.escape(secret)},
        "hex": {raw.hex()},
    }
    return {kind: {form for form in written if len(form) >= 8} for kind, written in found.items()}


class Listening:
    """Everything the runner has been given or has got that must not come out."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = set(secrets)
        self.codes: set[str] = set()  # one-time codes: too short for other forms, and only as a number of their own

    def found(self, text: str) -> set[str]:
        """The kinds of writing in which a secret stands in the text."""
        kinds = {
            kind
            for secret in self.secrets
            for kind, written in forms(secret).items()
            if any(form in text for form in written)
        }
        codes = self.codes & set(re.findall(r"(?<![\w.])\d{6,8}(?![\w.])", text))
        return kinds | ({"code"} if codes else set())

    def leaks(self, places: Mapping[str, str]) -> set[tuple[str, str]]:
        """Where something came out, and in which kind of writing."""
        return {(place, kind) for place, text in places.items() for kind in self.found(text)}


class Eavesdropper:
    """Takes whatever is sent to it, and keeps every byte: paths, headers and bodies. A Pushgateway, a check, a webhook."""

    def __init__(self) -> None:
        self.on_response: list[str] = []
        on_response = self.on_response

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                on_response.append(f"{self.path}\n{self.headers}\n{body}")
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
