"""Canaries: secrets that are told apart from all else, and the search for them in whatever a run leaves behind."""

import base64
import html
import json
import random
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate, chain
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

ODD = "\"'<>&%+/\\ é$€#{}"


def token() -> str:
    """Sixteen random characters of URLs; the same after the same `random.seed`."""
    return base64.urlsafe_b64encode(random.randbytes(12)).decode()


def canary() -> str:
    """A new secret, with characters that every encoding writes differently."""
    return f"{token()}{''.join(random.choices(ODD + string.ascii_letters, k=8))}x"


PART = 8  # characters of a secret that must not come out, in any writing
SAMPLE = 6  # characters; of any PART in a row, one of every third begins a whole sample


class Writing(NamedTuple):
    """A secret as any writer between it and a reader may have put it down. `spans` says where its parts stand in `text`."""

    kind: str
    text: str
    spans: Callable[[], list[tuple[int, int]]]


def writings(secret: str, part: int = PART) -> Iterable[Writing]:
    """Every writing of `secret`, with each part of so many characters, or all of it where it has fewer."""
    found: dict[tuple[str, str], Writing] = {}
    for kind, write in CHARACTERS:
        units = [write(one) for one in secret]
        text = "".join(units)
        found.setdefault((kind, text), Writing(kind, text, partial(_windows, units, part)))
    raw = [character.encode() for character in secret]
    whole = b"".join(raw)
    for kind, bits, codes in (("base64", 6, SIXTY_FOUR), ("base32", 5, THIRTY_TWO)):
        for shift in range(3 if bits == 6 else 5):  # bytes before it
            for encode in codes:
                text = encode(b"x" * shift + whole)
                found.setdefault((kind, text), Writing(kind, text, partial(_digits, raw, part, shift, bits)))
    return found.values()


SIXTY_FOUR: tuple[Callable[[bytes], str], ...] = (
    lambda raw: base64.b64encode(raw).decode(),
    lambda raw: base64.urlsafe_b64encode(raw).decode(),
)
THIRTY_TWO: tuple[Callable[[bytes], str], ...] = (
    lambda raw: base64.b32encode(raw).decode(),
    lambda raw: base64.b32encode(raw).decode().lower(),
)
CHARACTERS: list[tuple[str, Callable[[str], str]]] = [
    (kind, cache(write))
    for kind, write in (
        ("raw", str),
        ("url", quote),
        ("url", lambda one: quote(one, safe="")),
        ("url", quote_plus),
        ("url", lambda one: quote(one, safe="").lower()),
        ("url", lambda one: "".join(f"%{byte:02x}" for byte in one.encode())),
        ("url", lambda one: "".join(f"%{byte:02X}" for byte in one.encode())),
        ("json", lambda one: json.dumps(one)[1:-1]),
        ("json", lambda one: json.dumps(one, ensure_ascii=False)[1:-1]),
        ("json", lambda one: json.dumps(one, ensure_ascii=False)[1:-1].replace("/", "\\/")),
        ("json", lambda one: repr(one)[1:-1]),
        ("json", lambda one: "\\'" if one == "'" else repr(one)[1:-1]),
        ("markup", html.escape),
        ("hex", lambda one: one.encode().hex()),
        ("hex", lambda one: one.encode().hex().upper()),
    )
]


def _windows(units: Sequence[str | bytes], part: int) -> list[tuple[int, int]]:
    """Where each so many units in a row stand, or all where there are fewer."""
    ends = [0, *accumulate(map(len, units))]
    return [(ends[at], ends[min(at + part, len(units))]) for at in range(max(1, len(units) - part + 1))]


def _digits(raw: Sequence[bytes], part: int, shift: int, bits: int) -> list[tuple[int, int]]:
    """Where the digits stand that hold all bits of each so many characters in a row, after `shift` other bytes.

    Those at the edges hold bits of the secret's other characters too, but for its first one: there they are unknown.
    """
    return [
        ((shift + start) * 8 // bits, -(-(shift + end) * 8 // bits))
        for start, end in _windows(raw, part)
        if start or not shift * 8 % bits
    ]


class Listening:
    """Everything the runner has been given or has got that must not come out."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = set(secrets)
        self.names: set[str] = set()  # of users: only as a whole
        self.codes: set[str] = set()  # one-time codes: too short for other forms, and only as a number of their own

    def found(self, text: str) -> set[str]:
        """The kinds of writing in which a secret stands in the text."""
        return {kind for _, kind in self.leaks({"": text})}

    def leaks(self, places: Mapping[str, str]) -> set[tuple[str, str]]:
        """Where something came out, and in which kind of writing."""
        begun = {text[at : at + SAMPLE] for text in set(places.values()) for at in range(len(text) - SAMPLE + 1)}
        wanted = (*map(writings, self.secrets), *(writings(name, len(name)) for name in self.names))
        suspects = {
            (kind, text[start:end])
            for kind, text, spans in chain.from_iterable(wanted)
            if not begun.isdisjoint([text[at : at + SAMPLE] for at in range(0, len(text) - SAMPLE + 1, SAMPLE // 2)])
            for start, end in spans()
            if end - start >= PART
        }
        leaks = {(place, kind) for place, text in places.items() for kind, form in suspects if form in text}
        return leaks | {(place, "code") for place, text in places.items() if self._code(text)}

    def _code(self, text: str) -> bool:
        return any(code in text for code in self.codes) and not self.codes.isdisjoint(_NUMBERS.findall(text))


_NUMBERS = re.compile(r"(?<![\w.])\d{6,8}(?![\w.])")


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
