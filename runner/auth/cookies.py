"""The cookies of one login, kept and sent as a browser does (RFC 6265): by host and path, values as they came.

Ports share a host's cookies (8.5). A `Secure` cookie goes over plain http to this machine only, which browsers count as
secure. The standard library's jar sends none there, and reads the wall clock by itself.
"""

import json
from urllib.parse import urlsplit

from runner.frozen import Frozen
from runner.url import is_loopback

MAX_COOKIES = 100
MAX_COOKIE = 8192  # characters of one; browsers take 4096
_FIELDS = ("name", "value", "host", "path", "below", "secure", "expires")


class Cookie(Frozen):
    """One cookie. `expires` in Unix seconds; None: with the session. `below`: for all hosts below `host` too."""

    name: str
    value: str
    host: str
    path: str
    below: bool = False
    secure: bool = False
    expires: float | None = None

    def goes_to(self, scheme: str, host: str, path: str) -> bool:
        """Whether it is sent there (RFC 6265, 5.4)."""
        if self.secure and scheme != "https" and not is_loopback(host):
            return False
        if host != self.host and not (self.below and host.endswith("." + self.host)):
            return False
        return path == self.path or path.startswith(self.path if self.path.endswith("/") else self.path + "/")


class Jar:
    """The cookies of one login."""

    def __init__(self, kept: str | None = None) -> None:
        """`kept` is what `dumped` gave. What is damaged counts for nothing."""
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        try:
            for one in json.loads(kept or "[]"):
                self._put(_checked(Cookie(*one)))
        except (ValueError, TypeError):
            self._cookies = {}

    def _put(self, cookie: Cookie) -> None:
        self._cookies[cookie.host, cookie.path, cookie.name] = cookie

    def dumped(self) -> str:
        """Its written form, to be kept with the session. It is a secret."""
        return json.dumps([[getattr(one, field) for field in _FIELDS] for one in self._cookies.values()])

    def take(self, url: str, lines: tuple[str, ...], now: float) -> bool:
        """Take in the Set-Cookie lines of an answer from `url`; whether that changed anything."""
        before = self._cookies.copy()
        for line in lines:
            cookie = _parsed(line, url, now)
            if cookie is None:
                continue
            if cookie.expires is not None and cookie.expires <= now:
                self._cookies.pop((cookie.host, cookie.path, cookie.name), None)
            elif len(self._cookies) < MAX_COOKIES:
                self._put(cookie)
        return before != self._cookies

    def sent_to(self, url: str, now: float) -> list[Cookie]:
        """The cookies that go with a request to `url`, those of longer paths first."""
        parts = urlsplit(url)
        host, path = (parts.hostname or "").lower(), parts.path or "/"
        found = [one for one in self._cookies.values() if one.goes_to(parts.scheme, host, path)]
        alive = [one for one in found if one.expires is None or one.expires > now]
        return sorted(alive, key=lambda one: -len(one.path))

    def header(self, url: str, now: float) -> str | None:
        """The Cookie header for a request to `url`; None for no cookie."""
        return "; ".join(f"{one.name}={one.value}" for one in self.sent_to(url, now)) or None

    def __bool__(self) -> bool:
        """Whether it holds any."""
        return bool(self._cookies)

    @property
    def secrets(self) -> list[str]:
        """The values, to be redacted."""
        return [one.value.strip('"') for one in self._cookies.values()]


def _checked(cookie: Cookie) -> Cookie:
    """The cookie. Raises TypeError for a value of another kind."""
    texts = (cookie.name, cookie.value, cookie.host, cookie.path)
    if not all(isinstance(one, str) for one in texts) or not isinstance(cookie.expires, float | int | None):
        raise TypeError
    return cookie


def _parsed(line: str, url: str, now: float) -> Cookie | None:
    """The cookie of a Set-Cookie line (RFC 6265, 5.2 and 5.3); None for one that is not taken."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    pair, *attributes = line.split(";")
    name, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not name or len(pair) > MAX_COOKIE or not (pair.isascii() and pair.isprintable()):
        return None
    told = {key.strip().lower(): text.strip() for key, _, text in (one.partition("=") for one in attributes)}
    domain = told.get("domain", "").lstrip(".").lower()
    if domain and domain != host and not ("." in domain and host.endswith("." + domain)):
        return None
    path = told.get("path", "")
    if not path.startswith("/"):
        path = parts.path.rpartition("/")[0] or "/"
    return Cookie(name, value, domain or host, path, bool(domain), "secure" in told, _end(told, now))


def _end(told: dict[str, str], now: float) -> float | None:
    """When it ends: Max-Age counts before Expires (RFC 6265, 5.3)."""
    age = told.get("max-age", "")
    if age.removeprefix("-").isdecimal() and age.isascii():
        return now + int(age[:12])
    if "expires" not in told:
        return None
    from http.cookiejar import http2time  # type: ignore[attr-defined] # not in typeshed

    end = http2time(told["expires"])
    return None if end is None else float(end)
