"""Stores and sends the cookies of one login as a browser does (RFC 6265): by host and path, with unchanged values.

Ports share a host's cookies (8.5). A `Secure` cookie goes over plain http only to this machine, which browsers treat as
secure. The standard library's jar sends none there and reads the wall clock itself.
"""

import json
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from runner.frozen import Frozen
from runner.url import is_loopback

MAX_COOKIES = 100
MAX_COOKIE = 8192  # characters of one cookie; browsers accept 4096
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
        """Whether the cookie is sent to that URL (RFC 6265, 5.4)."""
        if self.secure and scheme != "https" and not is_loopback(host):
            return False
        if host != self.host and not (self.below and host.endswith("." + self.host)):
            return False
        return path == self.path or path.startswith(self.path if self.path.endswith("/") else self.path + "/")


class Jar:
    """The cookies of one login."""

    def __init__(self, kept: str | None = None) -> None:
        """`kept` is the output of `dumped`. Damaged entries are ignored."""
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        try:
            for one in json.loads(kept or "[]"):
                self._put(_checked(Cookie(*one)))
        except (ValueError, TypeError):
            self._cookies = {}

    def _put(self, cookie: Cookie) -> None:
        self._cookies[cookie.host, cookie.path, cookie.name] = cookie

    def dumped(self) -> str:
        """Returns the serialized form, to be stored with the session. It is a secret."""
        return json.dumps([[getattr(one, field) for field in _FIELDS] for one in self._cookies.values()])

    def take(self, url: str, lines: tuple[str, ...], now: float) -> bool:
        """Applies the Set-Cookie lines of a response from `url`; returns whether a cookie changed."""
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
        """Returns the cookies for a request to `url`, longer paths first."""
        parts = urlsplit(url)
        host, path = (parts.hostname or "").lower(), parts.path or "/"
        found = [one for one in self._cookies.values() if one.goes_to(parts.scheme, host, path)]
        alive = [one for one in found if one.expires is None or one.expires > now]
        return sorted(alive, key=lambda one: -len(one.path))

    def header(self, url: str, now: float) -> str | None:
        """Returns the Cookie header for a request to `url`; None without cookies."""
        return "; ".join(f"{one.name}={one.value}" for one in self.sent_to(url, now)) or None

    def values(self, url: str, now: float, names: Mapping[str, str]) -> dict[str, str]:
        """Returns values of cookies that go to `url`, by our names (`names`: to theirs), percent-decoded as scripts of
        pages send them back (Laravel, Angular)."""
        found = {one.name: one.value.strip('"') for one in reversed(self.sent_to(url, now))}  # the longest path counts
        return {name: unquote(found[cookie]) for name, cookie in names.items() if cookie in found}

    def __bool__(self) -> bool:
        """Whether there are any cookies."""
        return bool(self._cookies)

    @property
    def secrets(self) -> list[str]:
        """Returns the values, to be redacted."""
        return [one.value.strip('"') for one in self._cookies.values()]


def _checked(cookie: Cookie) -> Cookie:
    """Returns the cookie. Raises TypeError for a value of another type."""
    texts = (cookie.name, cookie.value, cookie.host, cookie.path)
    if not all(isinstance(one, str) for one in texts) or not isinstance(cookie.expires, float | int | None):
        raise TypeError
    return cookie


def _parsed(line: str, url: str, now: float) -> Cookie | None:
    """Parses a Set-Cookie line (RFC 6265, 5.2 and 5.3); None for a cookie that is rejected."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    pair, *attributes = line.split(";")
    name, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not name or len(pair) > MAX_COOKIE or not (pair.isascii() and pair.isprintable()):
        return None
    values = {key.strip().lower(): text.strip() for key, _, text in (one.partition("=") for one in attributes)}
    domain = values.get("domain", "").lstrip(".").lower()
    if domain and domain != host and not ("." in domain and host.endswith("." + domain)):
        return None
    path = values.get("path", "")
    if not path.startswith("/"):
        path = parts.path.rpartition("/")[0] or "/"
    return Cookie(name, value, domain or host, path, bool(domain), "secure" in values, _end(values, now))


def _end(values: dict[str, str], now: float) -> float | None:
    """Returns the expiry time: Max-Age has precedence over Expires (RFC 6265, 5.3)."""
    age = values.get("max-age", "")
    if age.removeprefix("-").isdecimal() and age.isascii():
        return now + int(age[:12])
    if "expires" not in values:
        return None
    from http.cookiejar import http2time  # type: ignore[attr-defined] # not in typeshed

    end = http2time(values["expires"])
    return None if end is None else float(end)
