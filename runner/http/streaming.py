"""Streams responses instead of holding them in memory: logs and files. Uses separate connections.

It retries nothing, spends no retry budget and never marks the API as down: its data affects no outcome, and
no poll waits for a connection that a log uses.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner import __version__
from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, RunnerError, StrayAnswer, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.external import show
from runner.frozen import Frozen
from runner.http import body, failures, onward
from runner.http.messages import PreparedRequest, Response, headers_of
from runner.http.onward import Hop
from runner.http.proxies import Proxy

if TYPE_CHECKING:
    import httpx

    from runner.http.connections import Connections

CONNECTIONS = 2  # in addition to `limits.connections`
CONNECT_SECONDS = 10.0
PIECE = 1 << 16  # bytes of inflated text at once
JSON_LIMIT = 2 << 20  # bytes of one part of a log, or of one list, that is JSON


class Streamed:
    """A response with an unread body: status, headers (lower-case names), then `chunks`."""

    def __init__(
        self, response: "httpx.Response", endpoint: str, idle: float, failed: Callable[[Exception], RunnerError]
    ) -> None:
        """`idle`: longest time without a byte, in seconds. `failed` returns the error for an httpx exception."""
        self._failed = failed
        self.status, self.headers = response.status_code, headers_of(response)
        self._response, self._endpoint, self._idle = response, endpoint, idle
        self.received = 0  # bytes of the body, as received

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the decompressed body in pieces, each limited by what the network delivers at once.

        Raises StrayAnswer for another encoding, Unreachable where no byte arrives for too long.
        """
        encoding = self.headers.get("content-encoding")
        if body.is_plain(encoding):
            async for chunk in self._raw():
                yield chunk
            return
        if not body.is_gzip(encoding):
            raise StrayAnswer(
                f"{self._endpoint}: the response is encoded as `{show(encoding or '', 20)}`, which was not requested"
            )
        inflate = zlib.decompressobj(wbits=31)
        try:
            async for chunk in self._raw():
                while chunk:
                    yield inflate.decompress(chunk, PIECE)
                    chunk = inflate.unconsumed_tail
        except zlib.error:
            raise StrayAnswer(f"{self._endpoint}: the response is not valid gzip") from None
        if not inflate.eof:
            raise Unreachable(f"{self._endpoint}: the connection broke within the gzip")

    async def _raw(self) -> AsyncIterator[bytes]:
        import httpx

        stream: Any = self._response.stream  # the raw stream: httpx's own iterators would decompress it without bounds
        chunks = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Unreachable(f"{self._endpoint}: no byte arrived for {self._idle:g} s") from None
            except httpx.HTTPError as error:
                raise self._failed(error) from None
            self.received += len(chunk)
            yield chunk


def _system_trust(_url: str) -> ssl.SSLContext:
    return ssl.create_default_context()


def _no_proxy(_url: str) -> Proxy | None:
    return None


class Elsewhere(Frozen):
    """The hosts to which a download may be redirected, and how a URL there is reached."""

    hosts: tuple[str, ...] = ()  # exact, or with * for any characters
    tls: Callable[[str], ssl.SSLContext] = _system_trust
    proxy: Callable[[str], Proxy | None] = _no_proxy


class SideClient:
    """Streams responses of one API."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        idle: float,
        tls: ssl.SSLContext,
        headers: Mapping[str, str] | None = None,
        proxy: Proxy | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`idle`: longest time without a byte, in seconds; `elsewhere`: the hosts of redirects. Connects on first use."""
        self._base_url, self._clock, self._idle, self._proxy = base_url, clock, idle, proxy
        self._elsewhere = elsewhere or Elsewhere()
        self._connections = self._opened(tls, proxy, headers or {})
        self._others: dict[str, tuple[Connections, Proxy | None]] = {}  # by scheme and host

    def _opened(self, tls: ssl.SSLContext, proxy: Proxy | None, headers: Mapping[str, str]) -> "Connections":
        from runner.http.connections import Connections

        return Connections(
            CONNECTIONS,
            tls=tls,
            connect_timeout=min(CONNECT_SECONDS, self._idle),
            headers={"User-Agent": f"sync-runner/{__version__}", "Accept-Encoding": "gzip", **headers},
            proxy=proxy.url if proxy else None,
        )

    async def close(self) -> None:
        """Closes all connections."""
        for connections in (self._connections, *(one for one, _proxy in self._others.values())):
            await connections.close()

    def _to(self, hop: Hop) -> "tuple[Connections, Proxy | None]":
        """Returns the connections for a request, and their proxy: another host gets none of the API's headers."""
        if hop.own:
            return self._connections, self._proxy
        at = urlsplit(hop.url)
        key = f"{at.scheme}://{at.netloc}"
        if key not in self._others:
            proxy = self._elsewhere.proxy(hop.url)
            self._others[key] = (self._opened(self._elsewhere.tls(hop.url), proxy, {}), proxy)
        return self._others[key]

    @asynccontextmanager
    async def stream(self, call: PreparedRequest, deadline: Deadline, observer: Observer) -> AsyncIterator[Streamed]:
        """Sends `call`; its body is read within the block. Raises Unreachable, DeadlineExceeded or ContractError."""
        import httpx

        began, code, problem = self._clock.monotonic(), "error", None
        hop, proxy = Hop(self._base_url + call.target, dict(call.headers)), self._proxy

        def failed(error: Exception) -> RunnerError:
            return failures.of_transport(error, call.endpoint, urlsplit(hop.url).netloc, proxy)

        try:
            async with asyncio.timeout(deadline.remaining), AsyncExitStack() as last:
                for _ in range(onward.MOST + 1):
                    connections, proxy = self._to(hop)
                    async with AsyncExitStack() as stack:
                        connection = await stack.enter_async_context(connections.lent(call.endpoint, deadline))
                        response = await stack.enter_async_context(
                            connection.stream(call.method, hop.url, headers=dict(hop.headers), content=call.body)
                        )
                        code = str(response.status_code)
                        following = self._following(hop, response, call, proxy)
                        if following is None:
                            last.push_async_exit(stack.pop_all())
                            break
                        hop = following
                else:
                    raise StrayAnswer(f"{call.endpoint}: more than {onward.MOST} redirects")
                yield Streamed(response, call.endpoint, self._idle, failed)
        except TimeoutError:
            problem = f"{call.endpoint}: no complete response before {deadline.what} ended"
            raise DeadlineExceeded(problem) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            problem = str(failed(error))
            raise failed(error) from None
        except RunnerError as error:
            problem = str(error)
            raise
        finally:
            spent = round(self._clock.monotonic() - began, 6)
            observer.emit(events.RequestDone(call.endpoint, code, 1, spent, problem))

    def _following(
        self, hop: Hop, response: "httpx.Response", call: PreparedRequest, proxy: Proxy | None
    ) -> Hop | None:
        """Returns the request that a redirect leads to; None for any other response."""
        if response.status_code == 407 and proxy is not None:
            raise failures.proxy_login_refused(call.endpoint, proxy.shown)
        if not 300 <= response.status_code < 400:
            onward.check(hop, response.status_code, call.endpoint)
            return None
        if call.method != "GET" or response.status_code not in (301, 302, 303, 307, 308):
            raise failures.redirected(call.endpoint, response.status_code)
        location = response.headers.get("location", "")
        return onward.follow(hop, response.status_code, location, self._elsewhere.hosts, call.endpoint)

    async def fetch(self, call: PreparedRequest, deadline: Deadline, observer: Observer) -> Response:
        """Returns the whole response, at most 2 MiB, with its JSON. Raises as `stream` does, and StrayAnswer for a larger one."""
        sent_at, left_at = self._clock.time(), self._clock.monotonic()
        content = bytearray()
        async with self.stream(call, deadline, observer) as answer:
            async for chunk in answer.chunks():
                content += chunk
                if len(content) > JSON_LIMIT:
                    raise StrayAnswer(f"{call.endpoint}: the response is larger than {JSON_LIMIT >> 20} MiB")
        value, is_json = body.decoded(bytes(content), call.endpoint)
        text = "" if is_json else content[:4096].decode(errors="replace")
        received_at = self._clock.time()
        return Response(answer.status, answer.headers, value, is_json, sent_at, received_at, left_at, text=text)
