"""Reads, decompresses and decodes the body of a response, each within size limits. Every client uses this module.

`read` (async) and `read_sync` differ only in how chunks arrive. Knows no API and sends nothing.
"""
# Decision 0029.

import json
import time
import zlib
from typing import TYPE_CHECKING, Any

from runner.errors import StrayAnswer
from runner.external import ExternalText, raw, show
from runner.models import JSON

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 1 << 20  # bytes, compressed or not; a list of 100 jobs is about 40 KiB
MAX_VALUES = (
    50_000  # in one JSON response, approximately; a list of 100 jobs has 1,100. Each costs about 100 bytes when decoded
)


class _Buffer:
    """The raw bytes of one body as they arrive, at most `limit`."""

    def __init__(self, endpoint: str, limit: int) -> None:
        self._endpoint, self._limit = endpoint, limit
        self.raw = bytearray()

    def add(self, chunk: bytes) -> None:
        """Raises StrayAnswer above the limit."""
        self.raw += chunk
        if len(self.raw) > self._limit:
            raise StrayAnswer(f"{self._endpoint}: the response is larger than {_size(self._limit)}", sent=True)


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"


async def read(
    response: "httpx.Response", endpoint: str, limit: int = MAX_ANSWER, *, may_be_cut: bool = False
) -> bytes:
    """Reads the raw bytes; the caller limits the time. Above `limit`, returns one byte more, or raises StrayAnswer."""
    buffer = _Buffer(endpoint, limit)
    stream: Any = response.stream
    async for chunk in stream:  # the raw stream: httpx's own iterators would decompress it or release the connection
        if may_be_cut and len(buffer.raw) + len(chunk) > limit:
            return bytes(buffer.raw + chunk[: limit + 1 - len(buffer.raw)])
        buffer.add(chunk)
    if _leftovers(response):
        await response.extensions["network_stream"].aclose()
    return bytes(buffer.raw)


def read_sync(response: "httpx.Response", endpoint: str, until: float, limit: int = MAX_ANSWER) -> bytes:
    """As `read`, until the time `until` of the monotonic clock. Raises TimeoutError after it."""
    buffer = _Buffer(endpoint, limit)
    stream: Any = response.stream
    for chunk in stream:
        buffer.add(chunk)
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(buffer.raw)


def _leftovers(response: "httpx.Response") -> bool:
    """Whether bytes followed the response: the next request on this connection would take them for its response.

    httpcore keeps such bytes for the next exchange and does not expose them; the private attribute is read defensively,
    and a test covers it.
    """
    found: Any = response.stream
    found = getattr(found, "_stream", found)  # a client of httpx has one more around it
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        found = getattr(found, name, None)
    return found is not None and bool(found.trailing_data[0])


def is_plain(encoding: ExternalText | None) -> bool:
    """Whether a Content-Encoding, or its absence, leaves the body unchanged."""
    return raw(encoding or "").lower() in ("", "identity")


def is_gzip(encoding: ExternalText | None) -> bool:
    """Whether it is the requested encoding."""
    return raw(encoding or "").lower() in ("gzip", "x-gzip")


def unpacked(
    packed: bytes, encoding: ExternalText | None, endpoint: str, limit: int = MAX_ANSWER, *, may_be_cut: bool = False
) -> bytes:
    """Decompresses the body to at most `limit` bytes. A 500-byte body can contain 200 MiB.

    Above the limit, returns one byte more, or raises StrayAnswer.
    """
    if is_plain(encoding):
        return packed
    if not is_gzip(encoding):
        raise StrayAnswer(
            f"{endpoint}: the response is encoded as `{show(encoding or '', 20)}`, which was not requested", sent=True
        )
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(packed, limit + 1)
    except zlib.error:
        raise StrayAnswer(f"{endpoint}: the response is not valid gzip", sent=True) from None
    if len(content) > limit and not may_be_cut:
        raise StrayAnswer(f"{endpoint}: the response is larger than {_size(limit)} when decompressed", sent=True)
    return content


def decoded(content: bytes, endpoint: str) -> tuple[JSON, bool]:
    """Returns the decoded JSON and true, or None and false for invalid JSON (also NaN, huge numbers, endless nesting).

    Raises StrayAnswer for too many values: a mebibyte of `[[],[],...` takes forty when decoded.
    """
    if sum(content.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise StrayAnswer(f"{endpoint}: the response has more than {MAX_VALUES} values", sent=True)
    try:
        return json.loads(content, parse_constant=_refuse), True
    except (ValueError, RecursionError):
        return None, False


def beginning(content: bytes, endpoint: str) -> tuple[JSON, bool, bool]:
    """As `decoded`, plus whether it is only the start of a larger response. Raises StrayAnswer where it starts no list."""
    from runner.http import cut_body

    some = cut_body.within(content[:MAX_ANSWER], MAX_VALUES)
    if len(some) == len(content):
        return *decoded(content, endpoint), False
    closed = cut_body.closed(some)
    value, is_json = decoded(closed, endpoint) if closed is not None else (None, False)
    if not is_json:
        raise StrayAnswer(f"{endpoint}: the response is larger than {_size(MAX_ANSWER)} and not a list", sent=True)
    return value, True, True


def _refuse(_constant: str) -> None:
    raise ValueError
