"""Turns the beginning of an oversized JSON response into valid JSON by closing it. Pure."""
# Decision 0100.

import re

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
_CLOSING = {b"[": b"]", b"{": b"}"}


def within(content: bytes, values: int) -> bytes:
    """Returns `content` up to about this many values."""
    for number, found in enumerate(re.finditer(rb"[,\[{]", content), 1):
        if number >= values:
            return content[: found.start()]
    return content


def closed(beginning: bytes) -> bytes | None:
    """Returns `beginning` up to the last complete element of its outermost open array, with everything closed.

    None where no array is open, or none of its elements is complete.
    """
    open_at: list[bytes] = []
    commas: list[int | None] = []
    for found in _TOKEN.finditer(beginning):
        token = found[0]
        if token == b'"':  # a text that does not end
            break
        if token in _CLOSING:
            open_at.append(token)
            commas.append(None)
        elif token == b"," and open_at:
            commas[-1] = found.start()
        elif token in (b"]", b"}") and open_at:
            open_at.pop()
            commas.pop()
    for depth, (sign, comma) in enumerate(zip(open_at, commas, strict=True), 1):
        if sign == b"[":
            if comma is None:
                return None
            return beginning[:comma] + b"".join(_CLOSING[one] for one in reversed(open_at[:depth]))
    return None
