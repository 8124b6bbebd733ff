"""The client against servers that do what they should not: bounded in time and size, and clear about what happened."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import certifi
import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import ContractError, DeadlineExceeded, RunnerError, Unreachable, UsageError
from runner.events import events
from runner.events.observer import Observer, Record
from runner.http.body import MAX_ANSWER
from runner.http.client import Client, check_base_url, tls_context
from runner.http.messages import PreparedRequest, Response, prepare
from runner.http.proxies import Proxy
from runner.http.retry import Policy, Safety
from runner.profile.models import Request
from tests.support.raw_server import Behaviour, RawServer, http, reset

CLOCK = SystemClock()
CALL = PreparedRequest("status", "GET", "/jobs?token=geheim", {"Authorization": "Bearer geheim"})


class Asker:
    """Sends one call and notes what is told of it."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def ask(
        self,
        base_url: str,
        *,
        safety: Safety = Safety.IDEMPOTENT,
        attempts: int = 3,
        timeout: float = 10.0,
        within: float | None = None,
        tls: ssl.SSLContext | None = None,
        call: PreparedRequest = CALL,
        proxy: Proxy | None = None,
    ) -> Response:
        """The answer, or the error."""
        return self._ask(base_url, 1, safety, attempts, timeout, within, tls, call, proxy)[0]

    def ask_twice(self, base_url: str) -> list[Response]:
        """Two answers, over one connection where the client keeps it."""
        return self._ask(base_url, 2)

    def _ask(
        self,
        base_url: str,
        times: int,
        safety: Safety = Safety.IDEMPOTENT,
        attempts: int = 3,
        timeout: float = 10.0,
        within: float | None = None,
        tls: ssl.SSLContext | None = None,
        call: PreparedRequest = CALL,
        proxy: Proxy | None = None,
    ) -> list[Response]:
        async def work() -> list[Response]:
            client = Client(
                base_url,
                clock=CLOCK,
                policy=Policy(attempts, 0.001, 0.002),
                request_timeout=timeout,
                tls=tls or tls_context(base_url, None),
                proxy=proxy,
            )
            try:
                observer = Observer(CLOCK, [self.records.append])
                deadline = Deadline.after(CLOCK, within, "the run's deadline")
                return [
                    await client.send(call, safety=safety, deadline=deadline, observer=observer) for _ in range(times)
                ]
            finally:
                await client.close()

        return asyncio.run(work())

    @property
    def codes(self) -> list[str]:
        """What the exchanges ended with."""
        return [record.event.code for record in self.records if isinstance(record.event, events.RequestDone)]


@pytest.fixture
def asker() -> Asker:
    """Somebody to ask."""
    return Asker()


def test_json_is_decoded_and_headers_are_lower_case(asker: Asker) -> None:
    with RawServer(http(b'{"a": [1, "x"]}', X_Odd="1")) as server:
        answer = asker.ask(server.base_url)
    assert (answer.status, answer.body, answer.is_json, answer.headers["x-odd"].raw) == (
        200,
        {"a": [1, "x"]},
        True,
        "1",
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'{"a": NaN}', b"[" * 20_000, b'{"a": 1e', b"9" * 10_000])
def test_what_is_no_usable_json_is_told_as_such_and_breaks_nothing(asker: Asker, body: bytes) -> None:
    with RawServer(http(body)) as server:
        answer = asker.ask(server.base_url)
    assert (answer.body, answer.is_json) == (None, False)


def test_gzip_is_undone(asker: Asker) -> None:
    with RawServer(http(gzip.compress(b'{"a": 1}', mtime=0), Content_Encoding="gzip")) as server:
        assert asker.ask(server.base_url).body == {"a": 1}


@cache
def _bomb() -> bytes:
    """200 MiB of zeros in about 200 KiB."""
    made = zlib.compressobj(9, wbits=31)
    part = b"\0" * (1 << 20)
    return b"".join(made.compress(part) for _ in range(200)) + made.flush()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: http(_bomb(), Content_Encoding="gzip"), "larger than 1 MiB when decompressed"),
        (
            lambda: http(gzip.compress(_bomb(), mtime=0), Content_Encoding="gzip, gzip"),
            "encoded as `gzip, gzip`, which was not requested",
        ),
        (lambda: http(b"x", Content_Encoding="br"), "encoded as `br`"),
        (lambda: http(b"no gzip at all", Content_Encoding="gzip"), "not valid gzip"),
        (lambda: http(b" " * (MAX_ANSWER + 1)), "larger than 1 MiB"),
        (lambda: http(b"[" + b"[]," * 50_000 + b"0]"), "more than 50000 values"),
    ],
    ids=["bomb", "double bomb", "brotli", "no gzip", "large", "many values"],
)
def test_an_answer_too_large_or_wrongly_packed_is_refused_in_bounded_memory(
    asker: Asker, answer: Callable[[], bytes], told: str
) -> None:
    with RawServer(answer()) as server:
        tracemalloc.start()
        with pytest.raises(ContractError, match=told):
            asker.ask(server.base_url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 * MAX_ANSWER
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_never_followed(asker: Asker, status: str) -> None:
    with RawServer(http()) as elsewhere, RawServer(http(b"", status, Location=elsewhere.base_url)) as server:
        with pytest.raises(ContractError, match="set base_url to the address it redirects to"):
            asker.ask(server.base_url)
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        lambda connection: connection.close(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 1_000_000,
        b"",
    ],
)
def test_a_broken_answer_is_asked_for_again_where_that_is_safe_and_never_where_it_is_not(
    asker: Asker, answer: bytes | Callable[[socket.socket], None]
) -> None:
    with RawServer(answer, answer, http(b'"good"')) as server:
        assert asker.ask(server.base_url).body == "good"
    with RawServer(answer, http(b'"good"')) as server:
        with pytest.raises(Unreachable) as caught:
            asker.ask(server.base_url, safety=Safety.NON_IDEMPOTENT)
        assert caught.value.sent
        assert len(server.requests) == 1


def test_a_duplicated_answer_is_never_taken_for_the_next_requests(asker: Asker) -> None:
    def twice(connection: socket.socket) -> None:
        connection.sendall(http(b'"first"') * 2)
        if connection.recv(65536):  # the next request on this connection, if the runner sends it here
            connection.sendall(http(b'"second"'))

    with RawServer(twice, http(b'"second"')) as server:
        assert [answer.body for answer in asker.ask_twice(server.base_url)] == ["first", "second"]


def test_an_unreadable_body_of_a_failing_server_is_no_breach_of_contract(asker: Asker) -> None:
    with RawServer(http(b"no gzip", "503 No", Content_Encoding="gzip"), http(b'"good"')) as server:
        assert asker.ask(server.base_url).body == "good"


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_interim_answers_are_passed_over(asker: Asker, status: str) -> None:
    with RawServer(f"HTTP/1.1 {status}\r\n\r\n".encode() + http(b'"good"')) as server:
        assert asker.ask(server.base_url).body == "good"


@pytest.mark.parametrize(
    ("status", "again"), [(429, True), (503, True), (425, True), (500, False), (502, False), (504, False), (400, False)]
)
def test_a_status_is_tried_again_only_where_the_request_was_certainly_not_taken(
    asker: Asker, status: int, again: bool
) -> None:
    with RawServer(http(b"{}", f"{status} Nope"), http(b'"good"')) as server:
        answer = asker.ask(server.base_url, safety=Safety.NON_IDEMPOTENT)
        assert answer.status == (200 if again else status)
        assert len(server.requests) == (2 if again else 1)


def test_retry_after_is_waited_for(asker: Asker) -> None:
    with RawServer(http(b"{}", "429 Slow", Retry_After="1"), http(b'"good"')) as server:
        began = time.monotonic()
        asker.ask(server.base_url)
        assert time.monotonic() - began >= 1.0


def test_a_retry_after_beyond_the_deadline_ends_the_tries_at_once(asker: Asker) -> None:
    with RawServer(http(b"{}", "429 Slow", Retry_After="3600")) as server:
        with pytest.raises(DeadlineExceeded, match="before the next try \\(rate_limited"):
            asker.ask(server.base_url, within=30.0)
        assert len(server.requests) == 1


def test_a_server_that_keeps_failing_is_left_after_the_attempts(asker: Asker) -> None:
    with RawServer(http(b"{}", "503 No")) as server:
        with pytest.raises(Unreachable, match="kept answering 503 in 3 tries"):
            asker.ask(server.base_url)
        assert len(server.requests) == 3
    assert asker.codes == ["503"] * 3


def _drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(2000):
        connection.sendall(b" ")
        time.sleep(0.01)


@pytest.mark.parametrize("behaviour", ["hold", "drip"])
def test_one_exchange_takes_no_longer_than_its_time_out_however_it_drips(asker: Asker, behaviour: str) -> None:
    server = RawServer(_drip)
    if behaviour == "hold":
        server._answers = [server.hold]
    with server:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no complete response within 0.3 s"):
            asker.ask(server.base_url, timeout=0.3, attempts=1)
        assert time.monotonic() - began < 5.0
    assert asker.codes == ["error"]


def test_the_deadline_is_stricter_than_the_time_out(asker: Asker) -> None:
    with RawServer(_drip) as server, pytest.raises(DeadlineExceeded, match="before the run's deadline ended"):
        asker.ask(server.base_url, within=0.3)
    with pytest.raises(DeadlineExceeded, match="the run's deadline passed"):
        asker.ask("http://127.0.0.1:1", within=0.0)


@pytest.mark.parametrize(
    ("base_url", "told"),
    [
        ("http://127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
        ("http://no-such-host.invalid", "cannot connect to no-such-host.invalid"),
        ("http://[::1]:1", "cannot connect"),
    ],
)
def test_what_was_never_sent_is_known_as_such(asker: Asker, base_url: str, told: str) -> None:
    with pytest.raises(Unreachable, match=told.replace("[", r"\[")) as caught:
        asker.ask(base_url, safety=Safety.NON_IDEMPOTENT)
    assert not caught.value.sent
    assert asker.codes == ["error"] * 3


def test_no_error_shows_query_header_or_body(asker: Asker) -> None:
    answers: list[bytes | Behaviour] = [
        reset,
        http(b"geheim", "302 Found", Location="/geheim"),
        http(b"geheim", "503 geheim"),
        b"geheim\r\n\r\n",
    ]
    for answer in answers:
        with RawServer(answer) as server, pytest.raises(RunnerError) as caught:
            asker.ask(server.base_url)
        assert "geheim" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "geheim" not in repr(CALL)
    assert all("geheim" not in repr(record) for record in asker.records)


@pytest.mark.parametrize("token", ["line\nbreak", "nul\0", "smörgås€", " edge "])
def test_a_token_that_does_not_fit_into_a_header_is_told_and_not_shown(asker: Asker, token: str) -> None:
    with RawServer(http()) as server, pytest.raises(ContractError, match="contains characters that HTTP") as caught:
        asker.ask(server.base_url, call=PreparedRequest("status", "GET", "/", {"Authorization": f"Bearer {token}"}))
    assert token not in str(caught.value)


def test_cookies_of_one_answer_do_not_go_with_the_next_request(asker: Asker) -> None:
    cookie = http(b"{}", "503 No", Set_Cookie="session=geheim")
    with RawServer(cookie, http()) as server:
        asker.ask(server.base_url)
        assert b"geheim" not in server.requests[1].replace(b"Bearer geheim", b"").replace(b"token=geheim", b"")


def test_a_connection_is_kept_for_the_next_request(asker: Asker) -> None:
    def answer_two(connection: socket.socket) -> None:
        connection.sendall(http(b"1"))
        assert connection.recv(65_536).startswith(b"GET ")
        connection.sendall(http(b"2"))

    with RawServer(answer_two, http(b"3")) as server:
        assert [answer.body for answer in asker.ask_twice(server.base_url)] == [1, 2]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost with its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(path),
        "-out",
        str(path) + ".crt",
    ]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """A TLS server of that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(http(b'"good"'))
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_certificate_is_checked_against_the_given_authority(asker: Asker, tls_port: int, certificate: Path) -> None:
    trusted = tls_context("https://localhost", Path(f"{certificate}.crt"))
    assert asker.ask(f"https://localhost:{tls_port}", tls=trusted).body == "good"
    with pytest.raises(Unreachable, match="certificate: self-signed certificate") as caught:
        asker.ask(f"https://localhost:{tls_port}", attempts=1)
    assert not caught.value.sent
    with pytest.raises(Unreachable, match="certificate: IP address mismatch"):
        asker.ask(f"https://127.0.0.1:{tls_port}", tls=trusted, attempts=1)


def test_a_host_of_a_redirect_may_have_a_certificate_of_the_public_authorities_too(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(f"{certificate}.crt")
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())

    def known(**how: bool) -> int:
        return tls_context("https://localhost", own, **how).cert_store_stats()["x509"]

    assert known() == 1
    assert known(and_public=True) > 100


def test_plain_http_on_a_tls_port_and_the_other_way_are_told(asker: Asker, tls_port: int) -> None:
    with pytest.raises(Unreachable):
        asker.ask(f"http://127.0.0.1:{tls_port}", attempts=1)
    with RawServer(http()) as server, pytest.raises(Unreachable, match="cannot connect") as caught:
        asker.ask(server.base_url.replace("http:", "https:"), attempts=1, timeout=1.0)
    assert not caught.value.sent


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_file_that_can_not_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="tls.ca_file: .*ca.pem: cannot be used"):
        tls_context("https://x.example", path)


def test_plain_http_to_another_machine_needs_a_setting() -> None:
    check_base_url("http://127.0.0.1:1", allow_http=False)
    check_base_url("http://localhost", allow_http=False)
    check_base_url("https://x.example", allow_http=False)
    check_base_url("http://x.example", allow_http=True)
    with pytest.raises(UsageError, match="tls.allow_http"):
        check_base_url("http://x.example", allow_http=False)


def test_values_are_quoted_where_they_go_and_forms_are_encoded() -> None:
    request = Request(
        method="POST", path="/jobs/${id}", query={"q": "${id}"}, form={"word": "${id}"}, headers={"X-Id": "${id}"}
    )
    call = prepare("trigger", request, {"id": "a/b c&d=e"})
    assert call.target == "/jobs/a%2Fb%20c%26d%3De?q=a%2Fb+c%26d%3De"
    assert call.body == b"word=a%2Fb+c%26d%3De"
    assert call.headers["X-Id"] == "a/b c&d=e"
    with pytest.raises(ContractError, match="needs a value for `id`"):
        prepare("trigger", request, {})
