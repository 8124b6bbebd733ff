"""What an exception of httpx means for the runner: one translation for every client."""

import os
import re
import socket
import ssl

from runner.errors import ContractError, ProxyRefused, RunnerError, StrayAnswer, Unreachable
from runner.http.proxies import Proxy

BUSY_PROXY = frozenset({"500", "502", "503", "504"})  # a proxy that cannot reach the host just now


def of_transport(error: Exception, endpoint: str, host: str, proxy: Proxy | None, *, sent: bool = True) -> RunnerError:
    """The error for what httpx raised while `endpoint` was asked at `host`; `sent`: the request may have left."""
    import httpx

    to = host if proxy is None else f"{host} through {proxy.shown}"
    if isinstance(error, httpx.ProxyError):
        return _of_proxy(str(error), endpoint, host, proxy)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        passing = not isinstance(_of_kind(error, ssl.SSLError), ssl.SSLError)
        return Unreachable(f"{endpoint}: cannot connect to {to} ({cause(error)})", sent=False, passing=passing)
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeError):
        return ContractError(
            f"{endpoint}: the request cannot be written; a value for its path or headers (a token, an id) holds "
            "characters that HTTP does not allow there"
        )
    if not sent and proxy is not None:
        return Unreachable(f"{endpoint}: {proxy.shown} gave no tunnel to {host} ({cause(error)})", sent=False)
    return Unreachable(f"{endpoint}: the connection broke ({cause(error)})", sent=sent)


def _of_proxy(text: str, endpoint: str, host: str, proxy: Proxy | None) -> RunnerError:
    """httpx tells a refused CONNECT as `407 Proxy Authentication Required`; the words are the proxy's."""
    named = proxy.shown if proxy else "the proxy"
    status = re.match(r"\d{3}\b", text)
    if status and status[0] == "407":
        return proxy_login_refused(endpoint, named)
    if not status:
        return Unreachable(f"{endpoint}: {named} gave no tunnel to {host}", sent=False)
    passing = status[0] in BUSY_PROXY
    return Unreachable(
        f"{endpoint}: {named} refused a tunnel to {host} with {status[0]}", sent=False, passing=passing
    )  # fmt: skip


def _of_kind(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first error of that kind among its causes."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found


def proxy_login_refused(endpoint: str, named: str) -> ProxyRefused:
    """The error for a proxy that answers 407; `named` is the proxy as messages show it."""
    return ProxyRefused(f"{endpoint}: {named} wants a login (407); put the user and password into its address")


def redirected(endpoint: str, status: int) -> StrayAnswer:
    """The error for an answer that redirects where none is expected."""
    return StrayAnswer(
        f"{endpoint}: the API redirects ({status}), which is not followed with credentials; set base_url to the address it "
        "redirects to"
    )


def cause(error: Exception) -> str:
    """The system's own words for a failed connection, or the kind of error: no URL and no text of others in it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"certificate: {found.verify_message}"
        if isinstance(found, ssl.SSLError) and found.reason == "WRONG_VERSION_NUMBER":
            return "it does not speak TLS; is its address one of plain http?"
        if isinstance(found, ssl.SSLError) and found.reason:
            return f"TLS: {found.reason.lower().replace('_', ' ')}"
        if isinstance(found, socket.gaierror):
            return str(found.strerror)
        if isinstance(found, OSError) and found.errno:
            return os.strerror(found.errno)  # asyncio puts an address into its own words
        found = found.__cause__ or found.__context__
    return type(error).__name__
