"""A bounded number of connections to one host, each used by one request at a time. Knows no API and no retries.

Loads httpx: import it only where a client is created.
"""
# Decisions 0049, 0055, 0185.

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx

from runner.clock import Deadline
from runner.limiter import FairLimiter


class _NoCookies(httpx.Cookies):
    """Stores no cookies, and so sends none: accounts share the connections. A jar with such a policy is slower."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignores the response's cookies."""


class Connection(httpx.AsyncClient):
    """An httpx client with one connection."""

    _none = _NoCookies()

    @property  # type: ignore[misc] # read-only
    def cookies(self) -> httpx.Cookies:
        """None, ever."""
        return self._none


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
        self._connect_timeout, self._headers = connect_timeout, headers
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def lent(self, endpoint: str, deadline: Deadline) -> AsyncIterator[Connection]:
        """Yields a free connection, first come first served. Raises DeadlineExceeded."""
        async with self._limiter.taken(deadline, f"{endpoint}: no connection was free"):
            connection = self._idle.pop() if self._idle else self._open()
            try:
                yield connection
            finally:
                self._idle.append(connection)

    def _open(self) -> Connection:
        return Connection(
            verify=self._tls,
            timeout=httpx.Timeout(
                None, connect=self._connect_timeout
            ),  # the user of the connection limits the whole exchange
            follow_redirects=False,
            headers=self._headers,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,  # `proxies` reads the environment
            proxy=self._proxy,
            transport=self._transport,
        )

    async def close(self) -> None:
        """Closes all connections; none is available afterwards."""
        for connection in self._idle:
            await connection.aclose()
