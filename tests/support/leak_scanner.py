"""Canaries: secrets that are told apart from all else, and the search for them in whatever a run leaves behind."""

import base64
import html
import json
import random
import re
import secrets as randomness
import string
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

ODD = "\"'<>&%+/\\ é$€#{}"


def canary() -> str:
    """A new secret, with characters that every encoding writes differently."""
    return f"{randomness.token_urlsafe(12)}{''.join(random.choices(ODD + string.ascii_letters, k=8))}x"


PART = 8  # characters of a secret that must not come out, in any writing


@lru_cache(20_000)
def forms(secret: str) -> dict[str, set[str]]:
    """The secret as any writer between it and a reader may have put it down, by the kind of writing."""
    raw = secret.encode()
    sixty_four = {
        encode(b"x" * shift + raw).decode()[
            -(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6
        ]  # what `raw` alone decides
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        for shift in range(3)
    }
    thirty_two = {
        base64.b32encode(b"x" * shift + raw).decode()[-(-shift * 8 // 5) : (shift + len(raw)) * 8 // 5]
        for shift in range(5)
    }
    every = "".join(f"%{byte:02x}" for byte in raw)
    found = {
        "raw": {secret},
        "url": {
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            quote(secret, safe="").lower(),
            every,
            every.upper(),
        },
        "base64": sixty_four,
        "base32": thirty_two | {one.lower() for one in thirty_two},
        "json": {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
        | {json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/")},
        "markup": {html.escape(secret)},
        "hex": {raw.hex(), raw.hex().upper()},
    }
    return {kind: {form for form in written if len(form) >= PART} for kind, written in found.items()}


def parts(secret: str) -> dict[str, set[str]]:
    """Every eight characters of it, or all where it has fewer, by the kind of writing.

    In Base64 and Base32 edge characters hold bits of two bytes: there are eight whole ones in ten that were cut anywhere.
    """
    found: dict[str, set[str]] = {}
    for length in (PART, PART + 2):
        for at in range(max(1, len(secret) - length + 1)):
            for kind, written in forms(secret[at : at + length]).items():
                if (kind in ("base64", "base32")) == (length > PART):
                    found.setdefault(kind, set()).update(written)
    return found


class Listening:
    """Everything the runner has been given or has got that must not come out."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = set(secrets)
        self.names: set[str] = set()  # of users: only as a whole
        self.codes: set[str] = set()  # one-time codes: too short for other forms, and only as a number of their own

    def found(self, text: str) -> set[str]:
        """The kinds of writing in which a secret stands in the text."""
        begun = {text[at : at + PART] for at in range(len(text) - PART + 1)}
        kinds = {
            kind
            for wanted in (*map(forms, self.names), *map(parts, self.secrets))
            for kind, written in wanted.items()
            if any(form[:PART] in begun and form in text for form in written)
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
