"""Translates httpx exceptions to RunnerErrors, for every client."""

import os
import re
import socket
import ssl

from runner.errors import ContractError, ProxyRefused, RunnerError, StrayAnswer, Unreachable
from runner.http.proxies import Proxy

BUSY_PROXY = frozenset({"500", "502", "503", "504"})  # a proxy that cannot reach the host at present


def of_transport(error: Exception, endpoint: str, host: str, proxy: Proxy | None, *, sent: bool = True) -> RunnerError:
    """Returns the error for an httpx exception of `endpoint` at `host`; `sent`: the request may have been sent."""
    import httpx

    to = host if proxy is None else f"{host} through {proxy.shown}"
    if isinstance(error, httpx.ProxyError):
        return _of_proxy(str(error), endpoint, host, proxy)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        passing = not isinstance(_of_kind(error, ssl.SSLError), ssl.SSLError)
        return Unreachable(f"{endpoint}: cannot connect to {to} ({cause(error)})", sent=False, passing=passing)
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeError):
        return ContractError(
            f"{endpoint}: the request cannot be written; a value for its path or headers (a token, an id) contains "
            "characters that HTTP does not allow there"
        )
    if not sent and proxy is not None:
        return Unreachable(f"{endpoint}: {proxy.shown} opened no tunnel to {host} ({cause(error)})", sent=False)
    return Unreachable(f"{endpoint}: the connection broke ({cause(error)})", sent=sent)


def _of_proxy(text: str, endpoint: str, host: str, proxy: Proxy | None) -> RunnerError:
    """Translates a refused CONNECT, which httpx reports as `407 Proxy Authentication Required` in the proxy's words."""
    named = proxy.shown if proxy else "the proxy"
    status = re.match(r"\d{3}\b", text)
    if status and status[0] == "407":
        return proxy_login_refused(endpoint, named)
    if not status:
        return Unreachable(f"{endpoint}: {named} opened no tunnel to {host}", sent=False)
    passing = status[0] in BUSY_PROXY
    return Unreachable(
        f"{endpoint}: {named} refused a tunnel to {host} with {status[0]}", sent=False, passing=passing
    )  # fmt: skip


def _of_kind(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Returns the first error of that type among its causes."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found


def proxy_login_refused(endpoint: str, named: str) -> ProxyRefused:
    """Returns the error for a proxy that responds 407; `named` is the proxy as messages show it."""
    return ProxyRefused(f"{endpoint}: {named} requires a login (407); add the user and password to its address")


def redirected(endpoint: str, status: int, *, sent: bool = False) -> StrayAnswer:
    """Returns the error for a redirect where none is expected; `sent`: it may lead to the result of a request that was
    accepted."""
    if sent:
        return StrayAnswer(
            f"{endpoint}: the API redirects ({status}) to another of its addresses, as after a request that it accepted; if "
            "that is so, name the status in `accepted` of the profile",
            sent=True,
        )
    return StrayAnswer(
        f"{endpoint}: the API redirects ({status}), which is not followed with credentials; set base_url to the address it "
        "redirects to"
    )


def starting(endpoint: str, status: int) -> Unreachable:
    """Returns the error for a response of a server that has processed nothing yet."""
    return Unreachable(f"{endpoint}: the API is still starting ({status})", sent=False, passing=True)


def cause(error: Exception) -> str:
    """Returns the system's text for a failed connection, or the type of error: no URL and no external text."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"certificate: {found.verify_message}"
        if isinstance(found, ssl.SSLError) and found.reason == "WRONG_VERSION_NUMBER":
            return "it does not use TLS; is its address a plain http address?"
        if isinstance(found, ssl.SSLError) and found.reason:
            return f"TLS: {found.reason.lower().replace('_', ' ')}"
        if isinstance(found, socket.gaierror):
            return str(found.strerror)
        if isinstance(found, OSError) and found.errno:
            return os.strerror(found.errno)  # asyncio's own text contains an address
        found = found.__cause__ or found.__context__
    return type(error).__name__
