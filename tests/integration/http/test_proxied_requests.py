"""Requests through a proxy, over sockets: a refused tunnel is not sent, 407 is named, this machine is reached directly."""

import asyncio
import socket
import threading
from pathlib import Path

import httpx
import pytest

from runner.errors import ContractError, ProxyRefused, RunnerError, Unreachable
from runner.http import fetch
from runner.http.client import tls_context
from runner.http.proxies import Proxies
from tests.integration.http.test_http_edge import Asker, certificate, tls_port
from tests.support.raw_server import Behaviour, RawServer, http, reset

__all__ = ["certificate", "tls_port"]


def ask(
    proxy_url: str, url: str, *, timeout: float = 5.0, tls: Path | None = None, variable: str = "ALL_PROXY"
) -> object:
    """What the API at `url` answers through the proxy."""
    proxy = Proxies.of({variable: proxy_url}).through(url)
    return Asker().ask(url, attempts=1, timeout=timeout, tls=tls_context(url, tls), proxy=proxy).body


def hang(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "answer",
    [
        http(status="503 Busy"),
        http(status="403 No"),
        http(status="302 Found"),
        http(status="500 X"),
        reset,
        lambda one: one.close(),
        b"garbage\r\n\r\n",
        hang,
    ],
)
def test_a_tunnel_that_the_proxy_does_not_give_was_not_sent_and_is_named(answer: bytes | Behaviour) -> None:
    with RawServer(answer) as proxy, pytest.raises(Unreachable, match=r"ALL_PROXY|within 1 s") as caught:
        ask(proxy.base_url, "https://api.example", timeout=1.0)
    assert not caught.value.sent
    assert proxy.requests[0].startswith(b"CONNECT api.example:443 ")


def test_a_proxy_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(
        Unreachable, match=r"cannot connect to api.example through the proxy 127.0.0.1:1 \(ALL_PROXY\)"
    ) as caught:
        ask("http://127.0.0.1:1", "https://api.example")
    assert not caught.value.sent


def test_a_proxy_that_wants_a_login_is_code_3_and_named() -> None:
    for url in ("https://api.example", "http://api.example"):
        with (
            RawServer(http(status="407 Secret Words")) as proxy,
            pytest.raises(ProxyRefused, match=r"ALL_PROXY\) requires a login \(407\)") as caught,
        ):
            ask(proxy.base_url, url)
        assert caught.value.exit_code == 3 and not caught.value.sent and "Secret Words" not in str(caught.value)


def test_the_proxys_own_login_goes_to_the_proxy_alone() -> None:
    with RawServer(http(status="503 Busy")) as proxy, pytest.raises(Unreachable):
        ask(proxy.base_url.replace("//", "//me:s%23cret@"), "https://api.example")
    assert b"proxy-authorization: basic bwu6cynjcmv0" in proxy.requests[0].lower()
    assert b"geheim" not in proxy.requests[0]


def relay_to(port: int) -> Behaviour:
    """A tunnel to that port, whatever was asked for."""

    def relay(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join(5)

    return relay


def pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def test_a_tunnel_carries_the_request(tls_port: int, certificate: Path) -> None:
    client_certificate = Path(f"{certificate}.crt")
    with RawServer(relay_to(tls_port)) as proxy:
        tls = tls_context("https://localhost", client_certificate)
        tls.check_hostname = False
        found = Proxies.of({"HTTPS_PROXY": proxy.base_url}).through("https://api.example")
        assert Asker().ask("https://api.example", attempts=1, tls=tls, proxy=found).body == "good"


def test_what_breaks_after_the_tunnel_stands_may_have_been_sent(tls_port: int, certificate: Path) -> None:
    with RawServer(http(b"", status="502 Bad")) as proxy, pytest.raises(Unreachable, match="502"):
        ask(proxy.base_url, "http://api.example")  # plain http has no tunnel: the proxy's answer is the answer
    with RawServer(reset) as proxy, pytest.raises(Unreachable, match="the connection broke") as caught:
        ask(proxy.base_url, "http://api.example")
    assert caught.value.sent


def test_this_machine_is_reached_directly_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(http()) as proxy, RawServer(http(b'"direct"')) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        assert Asker().ask(server.base_url).body == "direct"
        target = fetch.Target.of(server.base_url, False)
        with httpx.Client(**target.options()) as client:
            assert fetch.fetch(client, target, "GET", "/x", endpoint="pushgateway", seconds=5.0).content == b'"direct"'
        assert proxy.requests == []


def test_a_socks_proxy_is_asked_for_the_name(tls_port: int) -> None:
    asked: list[bytes] = []

    def socks(connection: socket.socket) -> None:
        connection.sendall(b"\x05\x00")
        asked.append(connection.recv(300))
        connection.sendall(b"\x05\x05\x00\x01\0\0\0\0\0\0")  # connection refused

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(300)
                socks(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match=r"ALL_PROXY\) opened no tunnel to api.example") as caught:
            ask(f"socks5h://127.0.0.1:{listening.getsockname()[1]}", "https://api.example")
        thread.join(5)
    assert not caught.value.sent and b"api.example" in asked[0]


BOMB_LIMIT = 1 << 20


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (http(b" " * (BOMB_LIMIT + 1)), ContractError, "larger than 1 MiB"),
        (http(b"x", Content_Encoding="br"), ContractError, "encoded as `br`"),
        (http(b"x", Content_Encoding="\x1b]0;x\x07"), ContractError, r"encoded as `\\x1b"),
        (reset, Unreachable, "the connection broke"),
        (hang, Unreachable, "no complete response within 0.5 s"),
        (http(b"x" * 9, status="200 OK").replace(b": 9", b": 99"), Unreachable, "broke"),
    ],
    ids=["large", "brotli", "control characters", "reset", "silent", "cut off"],
)  # fmt: skip
def test_every_client_reads_within_the_same_bounds(
    asynchronous: bool, answer: bytes | Behaviour, kind: type[RunnerError], told: str
) -> None:
    async def fetched(target: fetch.Target) -> fetch.Fetched:
        async with httpx.AsyncClient(**target.options()) as client:
            return await fetch.fetch_async(client, target, "GET", "/metrics", endpoint="pushgateway", seconds=0.5)

    with RawServer(answer) as server:
        target = fetch.Target.of(server.base_url, False)
        with pytest.raises(kind, match=rf"^pushgateway: .*{told}"):
            if asynchronous:
                asyncio.run(fetched(target))
            else:
                with httpx.Client(**target.options()) as client:
                    fetch.fetch(client, target, "GET", "/metrics", endpoint="pushgateway", seconds=0.5)
