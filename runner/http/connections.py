"""The connections to one host: never more than so many, each lent to one request at a time. Knows no API and no retries.

Loads httpx: to be imported where a client is made.
"""
# Decisions 0049, 0055, 0185.

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx

from runner.clock import Deadline
from runner.limiter import FairLimiter


class _NoCookies(httpx.Cookies):
    """Takes none in, and so sends none: accounts share the connections. A jar whose policy does so takes its time."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them where they are."""


class Connection(httpx.AsyncClient):
    """A client of httpx with one connection."""

    _none = _NoCookies()

    @property  # type: ignore[misc] # nobody may set any
    def cookies(self) -> httpx.Cookies:
        """None, ever."""
        return self._none


class Connections:
    """Those of one run, opened when first needed; the one used last is lent first.

    One client with a pool of them would look through its whole pool with each request, and twice.
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
        """There are never more than `count`, through the `proxy` of that URL. `transport` takes the network's place."""
        self._limiter = FairLimiter(count)
        self._tls, self._proxy, self._transport = tls, proxy, transport
        self._connect_timeout, self._headers = connect_timeout, headers
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def lent(self, endpoint: str, deadline: Deadline) -> AsyncIterator[Connection]:
        """A free one, after those who asked before. Raises DeadlineExceeded."""
        async with self._limiter.taken(deadline, f"{endpoint}: no connection was free"):
            connection = self._idle.pop() if self._idle else self._open()
            try:
                yield connection
            finally:
                self._idle.append(connection)

    def _open(self) -> Connection:
        return Connection(
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=self._connect_timeout),  # who borrows bounds the exchange as a whole
            follow_redirects=False,
            headers=self._headers,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,  # `proxies` reads the environment
            proxy=self._proxy,
            transport=self._transport,
        )

    async def close(self) -> None:
        """Close them all; none is lent any more."""
        for connection in self._idle:
            await connection.aclose()
