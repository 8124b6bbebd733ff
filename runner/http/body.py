"""The body of an answer: read, unpacked and decoded, each within bounds of size. Knows no API and sends nothing."""

import json
import zlib
from typing import TYPE_CHECKING, Any

from runner.errors import ContractError
from runner.external import show
from runner.models import JSON

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 1 << 20  # bytes, packed or not; a list of 100 jobs is about 40 KiB
MAX_VALUES = 50_000  # in one JSON answer, about; a list of 100 jobs has 1,100. Each costs some 100 bytes once decoded


async def read(response: "httpx.Response", endpoint: str) -> bytes:
    """The raw bytes. Raises ContractError where they are too many."""
    raw = bytearray()
    stream: Any = response.stream
    async for chunk in stream:  # as it comes: httpx's own iterators would unpack it, or give the connection back
        raw += chunk
        if len(raw) > MAX_ANSWER:
            raise ContractError(f"{endpoint}: the answer is larger than {MAX_ANSWER >> 20} MiB", sent=True)
    if _leftovers(response):
        await response.extensions["network_stream"].aclose()
    return bytes(raw)


def _leftovers(response: "httpx.Response") -> bool:
    """Whether more came than the answer: the next request on this connection would take that for its own answer.

    httpcore keeps such bytes for the next exchange and shows them nowhere; the way to them is looked for with care, and
    a test holds it.
    """
    found: Any = response.stream
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        found = getattr(found, name, None)
    return found is not None and bool(found.trailing_data[0])


def unpacked(raw: bytes, encoding: str, endpoint: str) -> bytes:
    """The body without its gzip, bounded. A 500-byte body can hold 200 MiB."""
    if encoding.lower() in ("", "identity"):
        return raw
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise ContractError(
            f"{endpoint}: the answer is encoded as `{show(encoding, 20)}`, which was not asked for", sent=True
        )
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(raw, MAX_ANSWER + 1)
    except zlib.error:
        raise ContractError(f"{endpoint}: the answer is not the gzip it claims to be", sent=True) from None
    if len(content) > MAX_ANSWER:
        raise ContractError(
            f"{endpoint}: the answer is larger than {MAX_ANSWER >> 20} MiB when decompressed", sent=True
        )
    return content


def decoded(content: bytes, endpoint: str) -> tuple[JSON, bool]:
    """The decoded JSON and true, or None and false where it is none (NaN, huge numbers and endless nesting are none).

    Raises ContractError for more values than any answer has: decoded, a mebibyte of `[[],[],...` takes forty.
    """
    if sum(content.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise ContractError(f"{endpoint}: the answer has more than {MAX_VALUES} values", sent=True)
    try:
        return json.loads(content, parse_constant=_refuse), True
    except (ValueError, RecursionError):
        return None, False


def _refuse(_constant: str) -> None:
    raise ValueError
