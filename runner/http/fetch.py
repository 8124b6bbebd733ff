"""One bounded exchange for whoever is not the API: Pushgateway, OTLP collector, hooks, the Kubernetes API.

`fetch` and `fetch_async` bound size and time and raise the runner's own errors. The client is the caller's, made with
`httpx.Client(**target.options())`: with the proxy that the environment names, and none for this machine.
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
    """Where a client sends to: one URL, the proxy for it, and how its certificate is checked."""

    url: str
    proxy: Proxy | None
    verify: Verify

    @classmethod
    def of(cls, url: str, verify: Verify, environment: Mapping[str, str] | None = None) -> "Target":
        """With the proxy that the environment names. Raises UsageError for variables that cannot be understood."""
        return cls(url, Proxies.of(environment).through(url), verify)

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def options(self) -> dict[str, Any]:
        """For a client of httpx."""
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
    """Send `method` to the target's URL + `path` and read the whole answer within `seconds` and `limit` bytes.

    `request` may hold `content` and `headers`. Raises Unreachable, ContractError or ProxyRefused; any status is returned.
    """
    import httpx

    until = time.monotonic() + seconds
    try:
        with client.stream(method, target.url + path, timeout=seconds, **request) as response:
            return _fetched(response, body.read_sync(response, endpoint, until, limit), endpoint, target, limit)
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        raise Unreachable(f"{endpoint}: no whole answer within {seconds:.2g} s") from None
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
        raise Unreachable(f"{endpoint}: no whole answer within {seconds:.2g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise failures.of_transport(error, endpoint, target.host, target.proxy) from None


def _fetched(response: "httpx.Response", raw: bytes, endpoint: str, target: Target, limit: int) -> Fetched:
    headers = headers_of(response)
    if response.status_code == 407 and target.proxy is not None:
        raise failures.proxy_login_refused(endpoint, target.proxy.shown)
    content = body.unpacked(raw, headers.get("content-encoding"), endpoint, limit)
    return Fetched(response.status_code, headers, content)
