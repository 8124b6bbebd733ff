"""Selects the proxy of a request from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. docs/proxies.md has the rules.

The variables are read here and passed to httpx explicitly: an invalid value is a usage error that names the
variable, and a request to this machine never goes through a proxy.
"""
# Decision 0096.

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from runner.errors import UsageError
from runner.frozen import Frozen
from runner.url import is_loopback, split_url

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

SCHEMES = ("http", "https", "socks5", "socks5h")
PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[^\s\x00-\x20\x7f/\\?#@\[\]:*,]+")


class Proxy(Frozen):
    """A proxy and the variable that names it. `url` may contain a password and is never shown."""

    variable: str
    url: str

    def __repr__(self) -> str:
        """Omits the address."""
        return f"Proxy({self.variable})"

    @property
    def shown(self) -> str:
        """Returns the variable and the proxy's host and port, for messages."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"the proxy {host}{f':{parts.port}' if parts.port else ''} ({self.variable})"

    @property
    def password(self) -> str | None:
        """The password in the address, for the redactor."""
        found = urlsplit(self.url).password
        return unquote(found) if found else None


class Bypass(Frozen):
    """One entry of NO_PROXY: a host with its subdomains, or a network; optionally with a port."""

    host: str | None
    network: "IPv4Network | IPv6Network | None"
    port: int | None

    def covers(self, host: str, port: int | None) -> bool:
        """Whether a request to that address uses no proxy."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return _address_in(host, self.network)
        return self.host == "*" or host == self.host or host.endswith(f".{self.host}")


class Proxies(Frozen):
    """The proxies by the scheme of the request's URL, and the exceptions."""

    by_scheme: Mapping[str, Proxy]
    bypasses: tuple[Bypass, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> "Proxies":
        """Reads the environment. Lower-case names have precedence, as in curl. Raises UsageError naming the variable."""
        environment = os.environ if environment is None else environment
        everything = _proxy(environment, "ALL_PROXY")
        found = {scheme: _proxy(environment, f"{scheme.upper()}_PROXY") or everything for scheme in PORTS}
        by_scheme = {scheme: proxy for scheme, proxy in found.items() if proxy}
        name, value = _variable(environment, "NO_PROXY")
        entries = re.split(r"[\s,]+", value) if value else []
        return cls(by_scheme, tuple(_bypass(name, entry) for entry in entries if entry))

    def through(self, url: str) -> Proxy | None:
        """Returns the proxy for a request to `url` (valid, http or https); None for a direct connection."""
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        port = parts.port or PORTS.get(parts.scheme)
        if is_loopback(host) or any(one.covers(host, port) for one in self.bypasses):
            return None
        return self.by_scheme.get(parts.scheme)


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Returns the variable's name as it is set, and its value; an empty one counts as not set."""
    name = name.lower() if name.lower() in environment else name
    return name, environment.get(name, "").strip()


def _proxy(environment: Mapping[str, str], variable: str) -> Proxy | None:
    name, value = _variable(environment, variable)
    if not value:
        return None
    try:
        parts = split_url(value if "://" in value else f"http://{value}", SCHEMES)
    except ValueError:
        raise UsageError(f"{name}: invalid proxy address; write http://HOST:PORT or socks5h://HOST:PORT") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"{name}: a proxy address ends after its port; percent-encode /, ? and # in a password")
    if parts.scheme.startswith("socks"):
        _need_socks(name)
    return Proxy(name, parts.geturl())


def _need_socks(variable: str) -> None:
    from importlib.util import find_spec

    if find_spec("socksio") is None:
        raise UsageError(f"{variable}: a SOCKS proxy needs the extra `socks`: pip install 'sync-runner[socks]'")


def _network(text: str) -> "IPv4Network | IPv6Network | None":
    if not re.fullmatch(r"[0-9a-fA-F.:]+(/\d{1,3})?", text):
        return None
    from ipaddress import ip_network

    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _bypass(variable: str, entry: str) -> Bypass:
    """Parses one entry: `*`, HOST, .HOST, *.HOST, an address, a network, each with optional :PORT; IPv6 in brackets then."""
    fault = UsageError(
        f"{variable}: an entry is not a host, address or network; write example.org, .example.org, example.org:8443, "
        "10.0.0.0/8, [fd00::1]:8443 or *"
    )
    if entry == "*":
        return Bypass("*", None, None)
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(\d+))?", entry)
    whole = None if bracketed else _network(entry)
    if whole is not None:
        return Bypass(None, whole, None)
    host, port = bracketed.groups() if bracketed else re.fullmatch(r"(.*?)(?::(\d+))?", entry).groups()  # type: ignore[union-attr]
    number = int(port) if port and len(port) <= 5 else None
    if port and (number is None or not 0 < number < 65_536):
        raise fault
    network = _network(host)
    if network is not None:
        return Bypass(None, network, number)
    name = host.removeprefix("*").removeprefix(".").removesuffix(".").lower()
    if bracketed or not _HOST.fullmatch(name) or re.fullmatch(r"[\d.]+(/.*)?", name) or "/" in name:
        raise fault
    return Bypass(name, None, number)


def _address_in(host: str, network: "IPv4Network | IPv6Network") -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host.partition("%")[0]) in network
    except ValueError:  # a name: it is not resolved
        return False
