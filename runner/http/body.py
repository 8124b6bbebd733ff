"""The body of a response: read, decompressed and decoded, each within bounds of size. Every client reads with this.

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
MAX_VALUES = 50_000  # in one JSON answer, about; a list of 100 jobs has 1,100. Each costs some 100 bytes once decoded


class _Buffer:
    """The raw bytes of one body as they arrive, at most `limit`."""

    def __init__(self, endpoint: str, limit: int) -> None:
        self._endpoint, self._limit = endpoint, limit
        self.raw = bytearray()

    def add(self, chunk: bytes) -> None:
        """Raises StrayAnswer where the bytes are too many."""
        self.raw += chunk
        if len(self.raw) > self._limit:
            raise StrayAnswer(f"{self._endpoint}: the answer is larger than {_size(self._limit)}", sent=True)


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"


async def read(
    response: "httpx.Response", endpoint: str, limit: int = MAX_ANSWER, *, may_be_cut: bool = False
) -> bytes:
    """The raw bytes; the caller bounds the time. Where they are more than `limit`, one more of them, or StrayAnswer."""
    buffer = _Buffer(endpoint, limit)
    stream: Any = response.stream
    async for chunk in stream:  # as it comes: httpx's own iterators would unpack it, or give the connection back
        if may_be_cut and len(buffer.raw) + len(chunk) > limit:
            return bytes(buffer.raw + chunk[: limit + 1 - len(buffer.raw)])
        buffer.add(chunk)
    if _leftovers(response):
        await response.extensions["network_stream"].aclose()
    return bytes(buffer.raw)


def read_sync(response: "httpx.Response", endpoint: str, until: float, limit: int = MAX_ANSWER) -> bytes:
    """As `read`, until the moment `until` of the monotonic clock. Raises TimeoutError after it."""
    buffer = _Buffer(endpoint, limit)
    stream: Any = response.stream
    for chunk in stream:
        buffer.add(chunk)
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(buffer.raw)


def _leftovers(response: "httpx.Response") -> bool:
    """Whether more came than the answer: the next request on this connection would take that for its own answer.

    httpcore keeps such bytes for the next exchange and shows them nowhere; the way to them is looked for with care, and
    a test holds it.
    """
    found: Any = response.stream
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        found = getattr(found, name, None)
    return found is not None and bool(found.trailing_data[0])


def is_plain(encoding: ExternalText | None) -> bool:
    """Whether a Content-Encoding, or its absence, leaves the body as it is."""
    return raw(encoding or "").lower() in ("", "identity")


def is_gzip(encoding: ExternalText | None) -> bool:
    """Whether it is the one that is asked for."""
    return raw(encoding or "").lower() in ("gzip", "x-gzip")


def unpacked(
    packed: bytes, encoding: ExternalText | None, endpoint: str, limit: int = MAX_ANSWER, *, may_be_cut: bool = False
) -> bytes:
    """The body without its gzip, at most `limit` bytes. A 500-byte body can hold 200 MiB.

    Where it is more, one byte more, or StrayAnswer.
    """
    if is_plain(encoding):
        return packed
    if not is_gzip(encoding):
        raise StrayAnswer(
            f"{endpoint}: the answer is encoded as `{show(encoding or '', 20)}`, which was not asked for", sent=True
        )
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(packed, limit + 1)
    except zlib.error:
        raise StrayAnswer(f"{endpoint}: the answer is not the gzip it claims to be", sent=True) from None
    if len(content) > limit and not may_be_cut:
        raise StrayAnswer(f"{endpoint}: the answer is larger than {_size(limit)} when decompressed", sent=True)
    return content


def decoded(content: bytes, endpoint: str) -> tuple[JSON, bool]:
    """The decoded JSON and true, or None and false where it is none (NaN, huge numbers and endless nesting are none).

    Raises StrayAnswer for more values than any answer has: decoded, a mebibyte of `[[],[],...` takes forty.
    """
    if sum(content.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise StrayAnswer(f"{endpoint}: the answer has more than {MAX_VALUES} values", sent=True)
    try:
        return json.loads(content, parse_constant=_refuse), True
    except (ValueError, RecursionError):
        return None, False


def beginning(content: bytes, endpoint: str) -> tuple[JSON, bool, bool]:
    """As `decoded`, and whether it is only the beginning of what is larger. Raises StrayAnswer where that begins no list."""
    from runner.http import cut_body

    some = cut_body.within(content[:MAX_ANSWER], MAX_VALUES)
    if len(some) == len(content):
        return *decoded(content, endpoint), False
    closed = cut_body.closed(some)
    value, is_json = decoded(closed, endpoint) if closed is not None else (None, False)
    if not is_json:
        raise StrayAnswer(f"{endpoint}: the answer is larger than {_size(MAX_ANSWER)} and no list", sent=True)
    return value, True, True


def _refuse(_constant: str) -> None:
    raise ValueError
