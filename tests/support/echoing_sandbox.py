"""A sandbox whose every answer repeats what it was told: the worst neighbour that a secret can have."""

import base64
import html
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import quote, quote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.events.redaction import MIN_LENGTH
from runner.sandbox import server as sandbox_server
from runner.sandbox.app import Sandbox
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.support.leak_scanner import Listening

Whole = tuple[int, dict[str, str], bytes]
Spoil = Callable[["EchoingSandbox", Whole], Whole]


WRITINGS: tuple[Callable[[bytes], str], ...] = (
    lambda raw: raw.decode(),
    lambda raw: quote(raw, safe="").lower(),
    lambda raw: raw.hex(),
    lambda raw: base64.b64encode(raw).decode(),
    lambda raw: base64.b32encode(raw).decode(),
    lambda raw: html.escape(raw.decode()),
    lambda raw: base64.b64encode(base64.b64encode(raw)).decode(),
    lambda raw: quote(quote(raw, safe=""), safe=""),
)


def _cut(said: str) -> list[str]:
    """Pieces of it, cut at random places before or after it is written in another way."""
    made = []
    for write in random.sample(WRITINGS, 3):
        start, length = random.randrange(len(said)), random.randrange(4, 40)
        whole = write(said.encode())
        at = random.randrange(len(whole))
        made += [write(said[start : start + length].encode()), whole[at : at + random.randrange(4, 80)]]
    return made


class EchoingSandbox:
    """What was heard so far, and how answers are spoiled beyond being chatty, by the end of their path."""

    def __init__(self) -> None:
        self.filler = 0  # letters before all that is repeated, so that whoever cuts the text cuts a secret
        self.begin(Listening())

    def begin(self, listening: Listening) -> None:
        """Forget what was heard; `listening` is told each token and code from now on."""
        self.listening = listening
        self.on_response: list[str] = []
        self.spoils: dict[str, Spoil] = {}

    def next_command(self) -> None:
        """Forget the codes: they are used up, and the next command cannot know them."""
        self.on_response = [said for said in self.on_response if said not in self.listening.codes]
        self.listening.codes.clear()

    @property
    def text(self) -> str:
        """Everything heard, in many writings."""
        on_response = list(dict.fromkeys(self.on_response))
        pieces = [piece for said in on_response if said not in self.listening.names for piece in _cut(said)]
        written = [
            form
            for said in on_response
            for form in (
                said,
                base64.b64encode(said.encode()).decode(),
                quote(said),
                base64.b64encode(b"me:" + said.encode()).decode(),
                quote_plus(said),
            )
        ]
        filler = ["E" * self.filler] if self.filler else []
        return " ".join([*filler, *written, json.dumps(on_response), *pieces])

    def hear(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Note what a request tells."""
        told = _fields(body)
        self.on_response += [value for value in told.values() if isinstance(value, str) and len(value) >= MIN_LENGTH]
        self.on_response += [value.decode("latin-1") for name, value in headers if name == b"authorization"]
        if "mfa_code" in told:
            self.listening.codes.add(told["mfa_code"])

    def repeat(self, path: str, answer: Whole) -> Whole:
        """The answer, chatty."""
        status, headers, body = answer
        told = _fields(body)
        if told:
            told |= {"error": self.text, "message": self.text} if status >= 400 else {"message": self.text}
            for job in told.get("jobs", ()):
                job["error_message"] = self.text
            body = json.dumps(told).encode()
        headers = {**headers, "content-length": str(len(body)), "x-echo": quote(self.text[:2000])}
        spoil = next((spoil for end, spoil in self.spoils.items() if path.endswith(end)), None)
        answer = spoil(self, (status, headers, body)) if spoil else (status, headers, body)
        given = [value for name, value in _fields(answer[2]).items() if name in ("access_token", "refresh_token")]
        self.listening.secrets.update(given)
        self.on_response += given
        return answer


def _fields(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


class _Around:
    """The application with the echo around it."""

    def __init__(self, app: ASGIApp, gossip: EchoingSandbox) -> None:
        self._app, self._gossip = app, gossip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        self._gossip.hear(body, scope["headers"])
        sent: list[Message] = []

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._app(scope, replay, keep)
        if sent:
            headers = {name.decode(): value.decode("latin-1") for name, value in sent[0].get("headers", [])}
            whole = sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:])
            await _send(self._gossip.repeat(scope["path"], whole), send)


async def _send(whole: Whole, send: Send) -> None:
    status, headers, body = whole
    lines = [
        (name.encode(), value.encode("latin-1"))
        for name, value in {**headers, "content-length": str(len(body))}.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def echoing(settings: SandboxSettings) -> Iterator[tuple[SandboxServer, EchoingSandbox]]:
    """A sandbox that runs, and its gossip."""
    gossip = EchoingSandbox()

    class Chatty(Sandbox):
        def app(self) -> ASGIApp:
            return _Around(super().app(), gossip)

    with mock.patch.object(sandbox_server, "Sandbox", Chatty), SandboxServer(settings) as server:
        yield server, gossip
