"""A proxy between the runner and the sandbox that spoils chosen exchanges, on the level of TCP, TLS or HTTP.

It judges nothing: what the server did is in the sandbox's record.
"""

import asyncio
import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

ENDPOINTS = ("login", "refresh", "trigger", "status", "list", "cancel")


@dataclass
class Exchange:
    """One request on its way, for a kind of fault to spoil. `rng` is seeded: cuts and sizes vary with it."""

    proxy: "FaultProxy"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: bytes
    rng: random.Random

    async def answered(self) -> tuple[bytes, bytes]:
        """Hand the request to the sandbox; its answer's head (without the empty line) and body."""
        return await self.proxy.forward(self.request)

    async def send(self, raw: bytes) -> None:
        """Bytes to the runner."""
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self, body: bytes, status: str = "200 OK", **headers: str) -> None:
        """A whole answer of our own; `_` in header names stands for `-`."""
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    def reset(self) -> None:
        """Break the connection with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the runner has given up."""
        while await self.reader.read(65536):
            pass


Spoil = Callable[[Exchange], Awaitable[None]]
Greet = Callable[["FaultProxy", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FaultProxy:
    """While the `with` block lasts: the sandbox at `upstream`, spoiled as `plan` says."""

    upstream: str
    tls: ssl.SSLContext | None = None
    tunnel: bool = False  # each connection begins with a CONNECT, as to a proxy
    close_each: bool = False  # end the connection after every exchange, so that each request makes a new one
    seen: Counter[str] = field(default_factory=Counter)
    serving: set["asyncio.Task[None] | None"] = field(default_factory=set)  # asyncio itself holds tasks but weakly
    spoiled: int = 0
    base_url: str = ""

    def plan(self, endpoint: str, spoil: Spoil | None, times: int, rng: random.Random) -> None:
        """From now on: spoil the first `times` requests to `endpoint` (all of them for -1)."""
        self._endpoint, self._spoil, self._times, self._rng = endpoint, spoil, times, rng
        self._also: tuple[str, Spoil] | None = None
        self._greet: tuple[Greet, range] | None = None
        self.seen.clear()
        self.connections = self.spoiled = 0

    def plan_also(self, endpoint: str, spoil: Spoil) -> None:
        """Spoil the first request to another endpoint too."""
        self._also = (endpoint, spoil)

    def plan_connections(self, greet: Greet, which: range) -> None:
        """Meet those connections (counted from 0) with `greet`, before any byte of HTTP."""
        self._greet = (greet, which)

    def __enter__(self) -> "FaultProxy":
        self.plan("", None, 0, random.Random(0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        port = self._listening.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}" if self.tls is None else f"https://localhost:{port}"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connected, sock=self._listening))
        self._loop.run_forever()
        end_connections(self._loop)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        task = asyncio.current_task()
        self.serving.add(task)
        try:
            if self.tunnel:
                await reader.readuntil(b"\r\n\r\n")
            if self._greet and number in self._greet[1]:
                self.spoiled += 1
                await self._greet[0](self, reader, writer)
                return
            if self.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self.tls:
                await writer.start_tls(self.tls)
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self.serving.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One exchange; whether the connection may be used again."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        request = head + await reader.readexactly(length)
        endpoint = endpoint_of(head)
        number = self.seen[endpoint]
        self.seen[endpoint] += 1
        spoil = self._spoil if endpoint == self._endpoint and (self._times < 0 or number < self._times) else None
        if self._also and endpoint == self._also[0] and number == 0:
            spoil = self._also[1]
        if spoil:
            self.spoiled += 1
            await spoil(Exchange(self, reader, writer, request, self._rng))
            return False
        answer_head, body = await self.forward(request)
        closing = b"\r\nConnection: close" if self.close_each else b""
        writer.write(answer_head + closing + b"\r\n\r\n" + body)
        await writer.drain()
        return not self.close_each

    async def forward(self, request: bytes) -> tuple[bytes, bytes]:
        """The sandbox's answer: head without the empty line, body."""
        parts = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"ontent-length:" in line.lower())
            return head, await reader.readexactly(length)
        finally:
            writer.close()


def end_connections(loop: asyncio.AbstractEventLoop) -> None:
    """End all that is served on a loop that has stopped, and close it: a connection that is left open complains later."""
    loop.set_exception_handler(lambda _loop, _context: None)  # who is cancelled here need not be told of
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


def endpoint_of(head: bytes) -> str:
    """Which endpoint a request is for; a listing is a status without a job."""
    path = head.split(b" ", 2)[1].decode()
    name = path.split("?")[0].rsplit("/", 1)[-1]
    return "list" if name == "status" and "job_id=" not in path else name
