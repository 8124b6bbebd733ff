"""Validates URLs and recognises this machine's hosts, for settings, secret files and environment variables alike."""

import re
from urllib.parse import SplitResult, urlsplit

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff\\^`{|}<>\"]")
_LABEL = re.compile(r"[^\s.@:/?#\[\]%*,]{1,63}")


def split_url(text: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """Returns the parts of an absolute URL that every client can use.

    Raises ValueError that states the fault without the text, which may contain a token.
    """
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise ValueError(f"the URL contains the character U+{ord(forbidden[0]):04X}; remove it or percent-encode it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("the URL's host or port is invalid; a port is a number from 1 to 65535") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError("give a URL such as https://sync.example.org")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("the URL's port is invalid; a port is a number from 1 to 65535")
    _check_host(parts.hostname)
    return parts


def _check_host(host: str) -> None:
    if ":" in host:
        from ipaddress import IPv6Address

        IPv6Address(host)  # raises ValueError; urlsplit has checked most of it
        return
    name = host.removesuffix(".")
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name).decode()
        except idna.IDNAError:
            raise ValueError("the URL's host is not a valid name") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("the URL's host is not a valid name")


def is_loopback(host: str | None) -> bool:
    """Whether `host` (a URL's host, no brackets) is localhost, a name below it (RFC 6761), 127.0.0.0/8 or ::1."""
    name = (host or "").lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if ":" not in name and not name.startswith("127."):
        return False
    from ipaddress import ip_address

    try:
        address = ip_address(name)
    except ValueError:  # a name, such as 127.example.org
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def normal_url(text: str) -> str:
    """Normalises an API's address, so that an account is the same in every spelling.

    Scheme and host in lower case, an international name in its encoded form, no default port, no slash at the end
    (RFC 3986, 6.2). `text` has passed `split_url`.
    """
    parts = split_url(text)
    host = (parts.hostname or "").lower().removesuffix(".")
    if not host.isascii():
        import idna

        host = idna.encode(host, uts46=True).decode()
    if ":" in host:
        from ipaddress import IPv6Address

        host = f"[{IPv6Address(host).compressed}]"
    port = parts.port
    shown = "" if port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}{_normal_path(parts.path)}"


def _normal_path(path: str) -> str:
    """Removes a slash at the end and normalises percent-encoding: letters plain, hex digits in capitals."""
    decoded = re.sub(r"%([0-9A-Fa-f]{2})", _unreserved, path)
    return decoded.rstrip("/")


def _unreserved(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    plain = character.isascii() and (character.isalnum() or character in "-._~")
    return character if plain else found[0].upper()
