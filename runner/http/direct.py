"""HTTP/1.1 over one connection of asyncio, one exchange at a time: the transport of requests that no proxy carries.

httpx's own transport keeps a pool for each client and works on anyio: 25 ms of a start, and half of the CPU of a request
(decision 0185). The protocol is h11's here too, and each error is the one that httpx's own transport raises.
Loads httpx: to be imported where a connection is made.
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import h11
import httpx

IDLE_SECONDS = 5.0  # after which a connection is not used again; httpx's own bound
HEAD_LIMIT = 100 * 1024  # bytes of a response's head; httpcore's own bound
HIGH = 1 << 16  # bytes that nobody has read: no more are taken from the system
NEXT_ADDRESS = 0.25  # seconds until the next address of a name is tried too (RFC 8305)
SHUTDOWN_SECONDS = 1.0  # for the end of TLS; nobody waits for it


class _Wire(asyncio.Protocol):
    """One connection: bytes in and out, with backpressure both ways."""

    def __init__(self) -> None:
        self.ended = False  # nothing more will come
        self._error: Exception | None = None
        self._came, self._waiting, self._drained = bytearray(), _none(), _none()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        if len(self._came) >= HIGH:
            self._transport.pause_reading()
        _wake(self._waiting)

    def eof_received(self) -> None:
        self.ended = True
        _wake(self._waiting)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended, self._error = True, exc
        _wake(self._waiting)
        _wake(self._drained)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._drained)

    async def write(self, data: bytes) -> None:
        """Send it. A connection that breaks meanwhile is noticed by who reads: the response may have come before."""
        self._transport.write(data)
        if self._drained is not None and not self._drained.done():
            await self._drained

    async def read(self) -> bytes:
        """What came; empty at the end. Raises OSError, ssl.SSLError among them."""
        while not self._came:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        data = bytes(self._came)
        self._came.clear()
        self._transport.resume_reading()
        return data

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing came unasked; the system is asked too, for the loop may not have seen it yet."""
        if self.ended or self._came or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._transport.close()


def _none() -> "asyncio.Future[None] | None":
    return None


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


class _Body(httpx.AsyncByteStream):
    """The body of a response. Closed before its end, it closes the connection."""

    def __init__(self, transport: "DirectTransport") -> None:
        self._transport, self._open = transport, True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._transport.event(), h11.Data):
            yield bytes(event.data)

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._transport.finish()


class DirectTransport(httpx.AsyncBaseTransport):
    """Connects when first used, and again where the connection cannot be used any more. Not for two requests at a time."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        """`tls` is for https alone."""
        self._tls = tls
        self._wire: _Wire | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._origin: tuple[str, str, int | None] | None = None
        self._idle_since = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, whose body is still to be read. Raises httpx.TransportError."""
        wire = await self._connected(request)
        try:
            with _errors_of_httpx():
                await wire.write(await self._written(request))
            trace = request.extensions.get("trace")
            if trace is not None:
                await trace("http11.send_request_body.complete", {"request": request})
            head = await self._head()
        except BaseException:
            self.close()
            raise
        told = {"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason}
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=_Body(self), extensions=told)

    async def _connected(self, request: httpx.Request) -> _Wire:
        url, loop = request.url, asyncio.get_running_loop()
        origin = url.scheme, url.raw_host.decode("ascii"), url.port
        if self._wire is not None:
            fresh = loop.time() - self._idle_since < IDLE_SECONDS
            if fresh and origin == self._origin and self._wire.quiet:
                return self._wire
            self.close()
        tls: dict[str, object] = {}
        if url.scheme == "https":
            tls = {"ssl": self._tls, "server_hostname": origin[1], "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                port = url.port or (443 if tls else 80)
                _, self._wire = await loop.create_connection(
                    _Wire, origin[1], port, happy_eyeballs_delay=NEXT_ADDRESS, **tls
                )  # type: ignore[call-overload]
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._origin = origin
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        return self._wire

    async def _written(self, request: httpx.Request) -> bytes:
        """The whole request, for one write: a server need not wait for a second packet."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        parts = [self._http.send(head)]
        parts += [self._http.send(h11.Data(data=chunk)) async for chunk in request.stream]
        return b"".join(part or b"" for part in (*parts, self._http.send(h11.EndOfMessage())))

    async def _head(self) -> h11.Response | h11.InformationalResponse:
        while True:
            event = await self.event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """What the server sent next. Raises httpx.TransportError."""
        with _errors_of_httpx():
            while True:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event  # type: ignore[return-value] # h11's two marks are classes
                if self._wire is None:
                    raise httpx.ReadError("the connection is closed")
                data = await self._wire.read()
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                self._http.receive_data(data)

    def finish(self) -> None:
        """After an exchange: keep the connection for the next one, where it can take one and nothing else came."""
        http = self._http
        if http.our_state is h11.DONE and http.their_state is h11.DONE and not http.trailing_data[0]:
            http.start_next_cycle()
            self._idle_since = asyncio.get_running_loop().time()
        else:
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def aclose(self) -> None:
        """As `close`."""
        self.close()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except OSError as error:
        raise httpx.ReadError(str(error)) from error
