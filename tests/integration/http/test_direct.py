"""The transport without a proxy, on real sockets: one write, no connection used that cannot be trusted, bounded memory."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from runner.http import direct
from runner.http.direct import DirectTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


def _with_server(serve: Serve, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """What `work` gives with a client of a server whose connections `serve` answers; each is told its number."""

    async def whole() -> Any:
        count = 0

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            try:
                await serve(reader, writer, count)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = DirectTransport(ssl.create_default_context())
        async with server, httpx.AsyncClient(transport=transport, base_url=url, trust_env=False) as client:
            return await asyncio.wait_for(work(client), 20)

    return asyncio.run(whole())


async def _answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, answer: bytes) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(answer.replace(b"ok", f"{number:02}".encode()))
        await writer.drain()


def _statuses(answer: bytes, times: int) -> list[str]:
    """The bodies of so many exchanges: the number of the connection that each used."""

    async def work(client: httpx.AsyncClient) -> list[str]:
        return [(await client.get("/")).text for _ in range(times)]

    found: list[str] = _with_server(lambda r, w, number: _answer_all(r, w, number, answer), work)
    return found


def test_a_request_with_its_body_leaves_in_one_write() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        seen.append(await reader.read(1 << 16))
        writer.write(OK)

    assert _with_server(serve, lambda client: client.post("/jobs", json={"sync": "health"})).status_code == 200
    assert seen[0].startswith(b"POST /jobs HTTP/1.1\r\n")
    assert seen[0].endswith(b'{"sync":"health"}')


def test_a_connection_serves_one_request_after_another() -> None:
    assert _statuses(OK, 3) == ["01", "01", "01"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", id="more than one answer"),
        pytest.param(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), id="announced close"),
        pytest.param(OK.replace(b"1.1", b"1.0", 1), id="HTTP/1.0"),
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    assert _statuses(answer, 3) == ["01", "02", "03"]


def test_a_connection_that_the_server_closed_meanwhile_takes_no_request() -> None:
    """A trigger written into it would be lost without a word whether it was taken."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"ok", f"{number:02}".encode()))

    async def work(client: httpx.AsyncClient) -> list[str]:
        found = []
        for _ in range(20):
            found.append((await client.get("/")).text)
            time.sleep(0.02)
        return found

    assert _with_server(serve, work) == [f"{number:02}" for number in range(1, 21)]


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "IDLE_SECONDS", 0.0)
    assert _statuses(OK, 2) == ["01", "02"]


def test_an_exchange_given_up_leaves_no_answer_for_the_next() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number > 1:
            await _answer_all(reader, writer, number, OK)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.write(OK)

    async def work(client: httpx.AsyncClient) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("/first")
        return (await client.get("/second")).text

    assert _with_server(serve, work) == "02"


def test_a_body_left_unread_leaves_nothing_for_the_next_request() -> None:
    async def work(client: httpx.AsyncClient) -> str:
        async with client.stream("GET", "/") as answer:
            assert answer.status_code == 200
        return (await client.get("/")).text

    assert _with_server(lambda r, w, number: _answer_all(r, w, number, OK), work) == "02"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", httpx.RemoteProtocolError),
        (b"no HTTP at all\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (direct.HEAD_LIMIT + 10), httpx.RemoteProtocolError),
    ],
)
def test_what_is_no_whole_response_is_an_error_of_httpx(answer: bytes, error: type[Exception]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    with pytest.raises(error):
        _with_server(serve, lambda client: client.get("/"))


def test_a_body_without_length_ends_with_the_connection_and_interim_responses_are_skipped() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall of it")

    assert _with_server(serve, lambda client: client.get("/")).text == "all of it"


def test_a_refused_connection_was_never_sent_to() -> None:
    async def work() -> None:
        async with httpx.AsyncClient(transport=DirectTransport(ssl.create_default_context())) as client:
            await client.get("http://127.0.0.1:1/")

    with pytest.raises(httpx.ConnectError):
        asyncio.run(work())


def test_a_server_that_sends_more_than_is_read_does_not_fill_the_memory() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1024):
            writer.write(b"x" * (1 << 16))
            await writer.drain()
            sent += 1 << 16

    async def work(client: httpx.AsyncClient) -> int:
        async with client.stream("GET", "/") as answer:
            before = -1
            while sent != before:  # until the server is held back
                before = sent
                await asyncio.sleep(0.3)
            held = sent
            size = 0
            async for chunk in answer.aiter_raw():
                size += len(chunk)
        assert size == 64 << 20
        return held

    assert _with_server(serve, work) < 48 << 20  # what two socket buffers take; never the whole
