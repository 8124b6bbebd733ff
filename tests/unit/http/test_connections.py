"""Connections are lent, kept and closed, also those that are lent at the end."""

import asyncio
import ssl

import httpcore
import httpx
import pytest

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


class OneConnection(httpx.AsyncHTTPTransport):
    """httpx's transport with one connection, to a server in memory that answers each request at once."""

    def __init__(self) -> None:
        answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"] * 3
        backend = httpcore.AsyncMockBackend([*answers])
        self._pool = httpcore.AsyncConnectionPool(max_connections=1, network_backend=backend)


async def exchanged(connections: Connections) -> bytes:
    """The body of a response."""
    async with (
        connections.lent("status", Deadline(SystemClock())) as connection,
        connection.stream("GET", "http://api.example/status", headers={}, content=None) as response,
    ):
        return await response.aread()


async def cancelled_after(steps: int, *, reused: bool) -> bool:
    """Whether a request was still at work after so many steps of the event loop, and was cancelled. The next one works."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connections = Connections(1, tls=tls, connect_timeout=1.0, headers={}, transport=OneConnection())
    if reused:
        await exchanged(connections)
    first = asyncio.ensure_future(exchanged(connections))
    for _ in range(steps):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert await asyncio.wait_for(exchanged(connections), 10) == b"{}"
    return first.cancelled()


@pytest.mark.parametrize("reused", [True, False])
def test_a_request_that_is_cancelled_at_any_step_leaves_no_connection_that_waits_for_its_end(reused: bool) -> None:
    steps = next(steps for steps in range(1000) if not asyncio.run(cancelled_after(steps, reused=reused)))
    assert steps > 2
