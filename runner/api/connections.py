"""The connections to one host: never more than so many, each lent to one request at a time. Knows no API and no retries."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runner.clock import Deadline
from runner.turns import Turns

if TYPE_CHECKING:
    import httpx


class Connections:
    """Clients of httpx with one connection each, opened when first needed; the one used last is lent first.

    One client with a pool of them would look through its whole pool with each request, and twice.
    """

    def __init__(
        self,
        count: int,
        *,
        tls: ssl.SSLContext,
        connect_timeout: float,
        headers: Mapping[str, str],
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """There are never more than `count`. `transport` takes the network's place."""
        self._turns = Turns(count)
        self._tls, self._transport = tls, transport
        self._connect_timeout, self._headers = connect_timeout, headers
        self._idle = [self._open()]  # loads httpx, which is not of the first request's time

    @asynccontextmanager
    async def lent(self, endpoint: str, deadline: Deadline) -> AsyncIterator["httpx.AsyncClient"]:
        """A free one, after those who asked before. Raises DeadlineExceeded."""
        async with self._turns.taken(deadline, f"{endpoint}: no connection was free"):
            client = self._idle.pop() if self._idle else self._open()
            try:
                yield client
            finally:
                self._idle.append(client)

    def _open(self) -> "httpx.AsyncClient":
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        return httpx.AsyncClient(
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=self._connect_timeout),  # who borrows bounds the exchange as a whole
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # accounts share it, never a cookie
            headers=self._headers,
            limits=httpx.Limits(max_connections=1),
            transport=self._transport,
        )

    async def close(self) -> None:
        """Close them all; none is lent any more."""
        for client in self._idle:
            await client.aclose()
