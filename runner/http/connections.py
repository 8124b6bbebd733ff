"""A bounded number of connections to one host, each used by one request at a time. Knows no API and no retries.

Loads httpx: import it only where a client is created.
"""
# Decisions 0049, 0055, 0185, 0198.

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from runner.clock import Deadline
from runner.limiter import FairLimiter


class Connection:
    """One connection: httpx's transport without its client. Redirects, cookies and logins of a client are never used, and
    accounts share the connections."""

    def __init__(self, transport: httpx.AsyncBaseTransport, headers: httpx.Headers, connect_timeout: float) -> None:
        """`headers` are sent with every request. The user of the connection limits the whole exchange."""
        self._transport, self._headers = transport, headers
        self._timeout = httpx.Timeout(None, connect=connect_timeout).as_dict()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        extensions: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Sends a request and yields its response, the body of which is read within the block. Raises httpx's errors."""
        every = self._headers.copy()
        every.update(headers)
        carried = {"timeout": self._timeout, **(extensions or {})}
        request = httpx.Request(method, url, headers=every, content=content, extensions=carried)
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Closes it."""
        await self._transport.aclose()


class Connections:
    """The connections of one run, opened on first use; the last used one is taken first.

    A single client with a pool would search its whole pool twice for each request.
    """

    def __init__(
        self,
        count: int,
        *,
        tls: ssl.SSLContext,
        connect_timeout: float,
        headers: Mapping[str, str],
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """At most `count` connections, through the `proxy` of that URL. `transport` replaces the network."""
        self._limiter = FairLimiter(count)
        self._tls, self._proxy, self._transport = tls, proxy, transport
        self._connect_timeout = connect_timeout
        self._headers = httpx.Headers({"Accept": "*/*", "Connection": "keep-alive", **headers})
        self._idle: list[Connection] = []
        self._closed = False

    @asynccontextmanager
    async def lent(self, endpoint: str, deadline: Deadline) -> AsyncIterator[Connection]:
        """Yields a free connection, first come first served. Raises DeadlineExceeded."""
        async with self._limiter.taken(deadline, f"{endpoint}: no connection was free"):
            connection = self._idle.pop() if self._idle else self._open()
            usable = False
            try:
                yield connection
                usable = not self._closed
            finally:  # after a cancel, httpcore may wait for the end of this exchange before another
                if usable:
                    self._idle.append(connection)
                else:
                    await connection.aclose()

    def _open(self) -> Connection:
        transport = self._transport or httpx.AsyncHTTPTransport(
            verify=self._tls,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,  # `proxies` reads the environment
            proxy=self._proxy,
        )
        return Connection(transport, self._headers, self._connect_timeout)

    async def close(self) -> None:
        """Closes all connections; none is available afterwards. One that a cancelled request still holds closes with it."""
        self._closed = True
        for connection in self._idle:
            await connection.aclose()
