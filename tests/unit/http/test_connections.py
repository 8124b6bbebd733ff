"""Connections are lent, kept and closed, also those that are lent at the end."""

import asyncio
import ssl

import httpx

from runner.clock import Deadline, SystemClock
from runner.http.connections import Connections


class Transport(httpx.AsyncBaseTransport):
    """Sends nothing, and counts how often it was closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def closed_after(*, while_lent: bool) -> int:
    transport = Transport()

    async def work() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        connections = Connections(1, tls=tls, connect_timeout=1.0, headers={}, transport=transport)
        async with connections.lent("login", Deadline(SystemClock())):
            if while_lent:
                await connections.close()
                assert transport.closed == 0
        if not while_lent:
            await connections.close()

    asyncio.run(work())
    return transport.closed


def test_a_connection_that_is_lent_when_all_are_closed_is_closed_when_it_comes_back() -> None:
    assert closed_after(while_lent=True) == 1


def test_an_idle_connection_is_closed_once() -> None:
    assert closed_after(while_lent=False) == 1
