"""Decides where a redirected download goes: within the API with its headers, or to a named host without them. Pure."""
# Decision 0184.

from collections.abc import Mapping
from fnmatch import fnmatchcase
from urllib.parse import urljoin, urlsplit

from runner.errors import StrayAnswer
from runner.external import show
from runner.frozen import Frozen
from runner.url import is_loopback

MOST = 5  # redirects of one download
_PASSING = frozenset({408, 416, 425, 429})  # a later request may be answered
_GO_ALONG = frozenset({"accept", "accept-encoding", "range", "if-range"})


class Hop(Frozen):
    """One request of a download."""

    url: str
    headers: Mapping[str, str]
    own: bool = True  # to the API itself
    first: bool = True  # not after a redirect


def check(hop: Hop, status: int, endpoint: str) -> None:
    """Raises StrayAnswer for a refusal behind a redirect: it is not the API's word that there is no log or file."""
    if not hop.first and 400 <= status < 500 and status not in _PASSING:
        at = show(urlsplit(hop.url).hostname or "", 100)
        raise StrayAnswer(f"{endpoint}: the API redirects to {at}, which answered {status}")


def follow(hop: Hop, status: int, location: str, hosts: tuple[str, ...], endpoint: str) -> Hop:
    """Returns the request that a redirect leads to. Raises StrayAnswer for a host that is not among `hosts`.

    The API's headers go to its own origin only (RFC 9110, 15.4): the address of a storage holds its own permission.
    """
    try:
        url = urljoin(hop.url, location)
        was, to = urlsplit(hop.url), urlsplit(url)
        here, there = (was.scheme, was.hostname, was.port), (to.scheme, to.hostname, to.port)
    except ValueError:
        raise StrayAnswer(f"{endpoint}: the API redirects ({status}) to an invalid address") from None
    if not location or to.scheme not in ("http", "https") or not to.hostname or to.username is not None:
        raise StrayAnswer(
            f"{endpoint}: the API redirects ({status}) to an address that cannot be followed (http or https only, no user name)"
        )
    if here == there:
        return Hop(url, hop.headers, own=hop.own, first=False)
    shown = show(to.hostname, 100)
    if was.scheme == "https" and to.scheme == "http" and not is_loopback(to.hostname):
        raise StrayAnswer(
            f"{endpoint}: the API redirects ({status}) from https to http at {shown}, which is not followed"
        )
    if not any(fnmatchcase(to.hostname.lower(), host.lower()) for host in hosts):
        raise StrayAnswer(
            f"{endpoint}: the API redirects ({status}) to {shown}; add that host to artifacts.redirect_hosts to follow it, "
            "without the API's token"
        )
    kept = {name: value for name, value in hop.headers.items() if name.lower() in _GO_ALONG}
    return Hop(url, kept, own=False, first=False)
