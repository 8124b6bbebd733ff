"""One bounded exchange with systems other than the API: Pushgateway, OTLP collector, hooks, the Kubernetes API.

`fetch` and `fetch_async` limit size and time and raise RunnerErrors. The caller supplies the client, created with
`httpx.Client(**target.options())`: it uses the proxy of the environment, and none for this machine.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.errors import Unreachable
from runner.external import ExternalText
from runner.frozen import Frozen
from runner.http import body, failures
from runner.http.messages import headers_of
from runner.http.proxies import Proxies, Proxy

if TYPE_CHECKING:
    import httpx

Verify = ssl.SSLContext | bool


class Fetched(Frozen):
    """A response: status, headers (lower-case names), the decompressed body."""

    status: int
    headers: Mapping[str, ExternalText]
    content: bytes


class Target(Frozen):
    """The destination of a client: one URL, its proxy, and how its certificate is verified."""

    url: str
    proxy: Proxy | None
    verify: Verify

    @classmethod
    def of(cls, url: str, verify: Verify, environment: Mapping[str, str] | None = None) -> "Target":
        """Uses the proxy of the environment. Raises UsageError for invalid variables."""
        return cls(url, Proxies.of(environment).through(url), verify)

    @property
    def host(self) -> str:
        """Returns host and port, for messages."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def options(self) -> dict[str, Any]:
        """Returns the options for an httpx client."""
        proxy = self.proxy.url if self.proxy else None
        return {"verify": self.verify, "proxy": proxy, "trust_env": False, "follow_redirects": False}


def fetch(
    client: "httpx.Client",
    target: Target,
    method: str,
    path: str,
    *,
    endpoint: str,
    seconds: float,
    limit: int = body.MAX_ANSWER,
    **request: Any,
) -> Fetched:
    """Sends `method` to the target's URL + `path` and reads the whole response within `seconds` and `limit` bytes.

    `request` may contain `content` and `headers`. Raises Unreachable, ContractError or ProxyRefused; returns any
    status.
    """
    import httpx

    until = time.monotonic() + seconds
    try:
        with client.stream(method, target.url + path, timeout=seconds, **request) as response:
            return _fetched(response, body.read_sync(response, endpoint, until, limit), endpoint, target, limit)
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        raise Unreachable(f"{endpoint}: no complete response within {seconds:.2g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise failures.of_transport(error, endpoint, target.host, target.proxy) from None


async def fetch_async(
    client: "httpx.AsyncClient",
    target: Target,
    method: str,
    path: str,
    *,
    endpoint: str,
    seconds: float,
    limit: int = body.MAX_ANSWER,
    **request: Any,
) -> Fetched:
    """As `fetch`, without blocking the event loop."""
    import httpx

    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(method, target.url + path, timeout=None, **request) as response,
        ):
            return _fetched(response, await body.read(response, endpoint, limit), endpoint, target, limit)
    except TimeoutError:
        raise Unreachable(f"{endpoint}: no complete response within {seconds:.2g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise failures.of_transport(error, endpoint, target.host, target.proxy) from None


def _fetched(response: "httpx.Response", raw: bytes, endpoint: str, target: Target, limit: int) -> Fetched:
    headers = headers_of(response)
    if response.status_code == 407 and target.proxy is not None:
        raise failures.proxy_login_refused(endpoint, target.proxy.shown)
    content = body.unpacked(raw, headers.get("content-encoding"), endpoint, limit)
    return Fetched(response.status_code, headers, content)
