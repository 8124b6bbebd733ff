"""Starts a write or a request at the run's end, and waits for it at most a set time."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from runner.errors import RunnerError, Unreachable
from runner.settings import OtlpSettings, PushgatewaySettings
from runner.url import is_loopback

if TYPE_CHECKING:
    import ssl

Target = TypeVar("Target", PushgatewaySettings, OtlpSettings)
FIRST_WAIT = 0.2  # seconds before the second try; doubles
MOST_BYTES = 16 << 20  # of one response: a Pushgateway's page with 10,000 accounts has 4 MB
Emit = Callable[[], str | None]  # returns the error, or None


def trusted(url: str, ca_file: Path | None = None) -> "ssl.SSLContext | bool":
    """Returns httpx's `verify`. Plain http has no certificate to check, and loading the roots would take 20 ms."""
    from runner.http.certificates import trusting

    return trusting(ca_file) if ca_file else not url.lower().startswith("http:")


def own_instance(settings: Target, shard: str | None) -> Target:
    """Returns the settings with an instance for a shard (such as `1/4`), so that it does not replace other shards' metrics."""
    if shard is None or settings.instance:
        return settings
    return settings.model_copy(update={"instance": f"shard-{shard.partition('/')[0]}"})


def begun(seconds: float, send: Emit, late: str = "no response", slack: float = 0.0) -> Emit:
    """Starts `send`. The returned function waits for its end, until `seconds` after the start, and raises what it
    raised.

    A daemon thread limits everything: name look-up, a slow response, a hanging disk; the process never waits for it.
    `slack`: further seconds for a function with its own time limit, so that its own message is reported.
    """
    answer: Future[str | None] = Future()

    def work() -> None:
        try:
            answer.set_result(send())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    until = time.monotonic() + seconds + slack
    threading.Thread(target=work, name="output", daemon=True).start()

    def wait() -> str | None:
        try:
            return answer.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return f"{late} within {seconds:.2g} s"

    return wait


class SendFailed(Exception):
    """There was no usable response. `again`: another try may help."""

    def __init__(self, problem: str, *, again: bool = True) -> None:
        """`problem` says what happened, without the address."""
        super().__init__(problem)
        self.again = again


def worth_repeating(status: int) -> bool:
    """Whether another try may help after a response with this status."""
    return status >= 500 or status == 429


def until_taken(
    seconds: float, attempt: Callable[[float], str | None], stop: threading.Event | None = None
) -> str | None:
    """Retries until success, a final failure, the time limit or `stop`.

    `attempt` receives the remaining seconds. Returns its result, or the message of the last SendFailed.
    """
    until, pause = time.monotonic() + seconds, FIRST_WAIT
    problem = "the time ran out before it"
    while (remaining := until - time.monotonic()) > 0:
        try:
            return attempt(remaining)
        except SendFailed as error:
            problem = str(error)
            if not error.again or pause >= until - time.monotonic() or (stop or threading.Event()).wait(pause):
                break
        pause *= 2
    return problem


class Sender:
    """Sends to one external address: size, time and decoding are bounded, the proxy is that of `docs/proxies.md`."""

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`auth` and `headers` are credentials. Raises SendFailed for unusable settings, before anything is sent."""
        import httpx

        from runner.http.fetch import Target

        self.host = urlsplit(url).hostname or ""
        self._headers = headers or {}
        if (auth or headers) and url.lower().startswith("http:") and not is_loopback(self.host):
            raise SendFailed("plain http would reveal the password: use https", again=False)
        try:
            self._target = Target.of(url, trusted(url, ca_file))
            self._client = httpx.Client(auth=auth, **self._target.options())
        except RunnerError as error:
            raise SendFailed(str(error), again=False) from None
        except OSError as error:
            raise SendFailed(f"ca_file cannot be used ({error.strerror or 'not a PEM bundle'})", again=False) from None

    def __enter__(self) -> "Sender":
        """Returns itself; closed at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Closes the connections."""
        self._client.close()

    def send(
        self, method: str, path: str, seconds: float, *, content: bytes = b"", content_type: str = ""
    ) -> tuple[int, bytes]:
        """Returns status and body, within this many seconds and 16 MiB. `path` follows the address. Raises SendFailed."""
        from runner.http.fetch import fetch

        headers = {
            **self._headers,
            "Accept-Encoding": "gzip",
            **({"Content-Type": content_type} if content_type else {}),
        }
        try:
            answer = fetch(
                self._client, self._target, method, path,
                endpoint=self.host, seconds=seconds, limit=MOST_BYTES, content=content, headers=headers,
            )  # fmt: skip
        except RunnerError as error:
            raise SendFailed(str(error).removeprefix(f"{self.host}: "), again=isinstance(error, Unreachable)) from None
        return answer.status, answer.content


def check_address(url: str, seconds: float, ca_file: Path | None = None) -> str | None:
    """Checks whether something listens at the address, with a trusted certificate. Sends no request.

    Through a proxy nothing is checked: a tunnel needs a request. Returns the error, or None.
    """
    from runner.http.proxies import Proxies

    try:
        if Proxies.of().through(url) is not None:
            return None
        return until_taken(seconds, partial(_connect, url, ca_file))
    except ValueError as error:
        return f"its address cannot be used ({error})"


def _connect(url: str, ca_file: Path | None, seconds: float) -> None:
    """Connects once and closes. Raises SendFailed; ValueError for an invalid address."""
    import socket

    from runner.http.certificates import trusting
    from runner.http.failures import cause

    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            if parts.scheme == "https":
                trusting(ca_file).wrap_socket(plain, server_hostname=host).close()
    except OSError as error:
        again = isinstance(error, ConnectionError)
        raise SendFailed(f"{host} cannot be reached ({cause(error)})", again=again) from None
