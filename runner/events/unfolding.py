"""Decodes external text, so that a secret is found in every encoding. Linear in the text.

Each encoding yields a child text and a mapping from a span of the child to its span in the parent. A run of
Base64, hex or Base32 may be cut anywhere and joined to other text, so every alignment of it is a separate child.
"""
# Decision 0097. Decision 0204.

import re
from binascii import a2b_base64, unhexlify
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache

from runner.frozen import Frozen

Span = tuple[int, int]
Child = tuple[bytes, Callable[[Span], Span]]


@lru_cache
def _escapes(marks: bytes, quotes: bool) -> re.Pattern[bytes]:
    """Returns the pattern for the escapes that begin with one of `marks`: `%` in URLs, a backslash in JSON and programs, `&` in
    HTML. Without `quotes`, quotes and tabs after a backslash are left out: they are frequent and lead to few secrets.

    One set of characters comes first: a pattern that starts with alternatives takes twenty times as long.
    """
    letters = _SIGNS + (rb"\"'abftv0" if quotes else b"")
    four, two = rb"[0-9a-fA-F]{4}", rb"[0-9a-fA-F]{2}"
    percent = b"(?<=%)(?:u" + four + b"|" + two + b"(?:%" + two + b")*)"
    unicode = rb"u" + four + rb"(?:\\u" + four + rb")*|u\{[0-9a-fA-F]{1,8}\}|U[0-9a-fA-F]{8}"
    octal = rb"[0-3][0-7]{2}(?:\\[0-3][0-7]{2})*"
    backslash = rb"(?<=\\)(?:" + unicode + rb"|x" + two + rb"(?:\\x" + two + b")*|" + octal + b"|[" + letters + b"])"
    entity = b"(?<=&)(?:#0{0,20}[0-9]{1,7}|#[xX]0{0,20}[0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?"
    kinds = [kind for mark, kind in ((b"%", percent), (b"\\", backslash), (b"&", entity)) if mark in marks]
    return re.compile(b"[" + re.escape(marks) + b"](?:" + b"|".join(kinds) + b")")


# What shells, regular expressions and Markdown escape by a backslash, and line ends.
_SIGNS = rb"\\/!#$%&()*+,.:;<=>?@\[\]^_`{|}~ \-\n\rnr"
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"0": b"\0"}

_UPPER, _LOWER, _DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz", b"0123456789"
_MARK = b"#"  # marks a character of the alphabet


def marks_of(alphabet: bytes) -> bytes:
    """Returns the table for `bytes.translate` that marks each byte of `alphabet`, for `runs`."""
    return bytes(_MARK[0] if value in alphabet else 32 for value in range(256))


class _Code(Frozen):
    """An encoding of bytes as characters: `group` characters hold `size` bytes."""

    marks: bytes
    zeroed: bytes  # the table that maps an alphabet's characters to those for `decode`, all others to a zero
    least: int  # minimum characters for eight bytes of a secret, at any alignment
    group: int
    size: int
    decode: Callable[[bytes], bytes]


def _code(
    alphabet: bytes, written: bytes, least: int, group: int, size: int, decode: Callable[[bytes], bytes]
) -> _Code:
    table = bytearray(written[:1] * 256)
    for value, canonical in zip(alphabet, written, strict=True):
        table[value] = canonical
    return _Code(marks_of(alphabet), bytes(table), least, group, size, decode)


def _from_base32(digits: bytes) -> bytes:
    """About twenty times as fast as Python's own: a power of two is parsed in linear time."""
    return int(digits, 32).to_bytes(len(digits) * 5 // 8, "big")


_ORDER64 = _UPPER + _LOWER + _DIGITS + b"+/"
_ORDER32 = (_DIGITS + _LOWER)[:32]
_BASE64 = _code(_ORDER64 + b"-_", _ORDER64 + b"+/", 11, 4, 3, a2b_base64)
_BASE32 = _code(_UPPER + _LOWER + b"234567", _ORDER32[:26] * 2 + _ORDER32[26:], 13, 8, 5, _from_base32)
PRINTABLE = bytes(range(32, 127))
_NO_HEX = bytes(value for value in range(256) if value not in b"0123456789abcdefABCDEF")
_NO_SIGN = bytes(value for value in range(256) if not 32 < value < 127)
_NO_LETTER = bytes(value for value in range(256) if value not in _UPPER + _LOWER + _DIGITS)
_NUMBERS = bytes(value if value in _DIGITS else 32 for value in range(256))
_VALUES = {form % value: value for value in range(256) for form in (b"%d", b"%03d")}
# Digits as zeros, letters and signs of escapes as letters, all else as spaces: a pattern that starts with a literal is fast.
_SHAPES = bytes(48 if value in _DIGITS else 97 if value in _UPPER + _LOWER + b"%\\" else 32 for value in range(256))
_LISTED = re.compile(rb"000?(?: {1,4}000?(?!0)){6}")
_LEAST = 4  # bytes of the shortest secret that is searched
UNWRAPPED = b"\0\t\r\n"  # bytes that `unwrapped` leaves out
_QUOTED = frozenset(b"\"'\a\b\f\n\r\t\v\0")


def unfold(text: bytes, alphabet: frozenset[int], *, spaces: bool) -> Iterator[tuple[Child, bool]]:
    """Yields every child of `text`, and whether it is text whose escapes were decoded, in which separators mean nothing.

    `alphabet`: the bytes in secrets; `spaces`: whether a plus sign may be a space.
    """
    quotes = not alphabet.isdisjoint(_QUOTED)
    for child in _unescaped(text, quotes):
        yield child, True
    if spaces and b"+" in text:
        formed = text.replace(b"+", b" ")
        yield (formed, _same), False
        for child in _unescaped(formed, quotes):
            yield child, True
    for child in (*_hex(text), *_decimal(text)):
        yield child, False
    joined, back = unwrapped(text)
    for code in (_BASE64, _BASE32):
        for decoded, inner in _aligned(joined, code):
            yield (decoded, composed(inner, back)), False


def unwrapped(text: bytes) -> Child:
    """Returns `text` without line breaks and the spaces after them, as of mails, certificates and YAML, and without the zeros
    of UTF-16."""
    if b"\n " in text:
        first, *others = text.split(b"\n")
        unfolded = b"".join([first, *(line.lstrip(b" ") for line in others)])
        return unfolded.translate(None, UNWRAPPED), _Left(_FOLDED, text)
    return _kept(text, text.translate(None, UNWRAPPED), _LINES)


def squeezed(text: bytes) -> Child:
    """Returns `text` without spaces, control characters and non-ASCII: separators between letters hide nothing."""
    return _kept(text, text.translate(None, _NO_SIGN), _SIGNS_ONLY)


def letters(text: bytes) -> Child:
    """Returns the ASCII letters and digits of `text`: in a seed, whatever separates its groups means nothing."""
    return _kept(text, text.translate(None, _NO_LETTER), _LETTERS_ONLY)


def unescape(text: bytes) -> bytes:
    """Returns `text` with percent signs, backslashes and entities decoded, once."""
    return _escapes(b"%\\&", quotes=True).sub(_plain, text)


class Pieces:
    """The runs of marked bytes of a text, joined by a byte that no secret contains."""

    def __init__(self, text: bytes, marks: bytes, least: int) -> None:
        """`marks` is from `marks_of`; runs of fewer than `least` bytes are left out."""
        self._runs = _runs(text, marks, least)
        self._starts: list[int] = []
        at = 0
        for start, end in self._runs:
            self._starts.append(at)
            at += end - start + 1
        self.text = b"\0".join([text[start:end] for start, end in self._runs])

    def back(self, span: Span) -> Span:
        """Returns the span in the whole text, with what lies between the runs that it touches."""
        return self._at(span[0]), self._at(span[1] - 1) + 1

    def _at(self, position: int) -> int:
        index = bisect_right(self._starts, position) - 1
        start, end = self._runs[index]
        return min(start + position - self._starts[index], end - 1)


def _unescaped(text: bytes, quotes: bool) -> Iterator[Child]:
    """Decodes the escapes of every kind together, for text of several, and of each kind alone: HTML leaves the backslash of a
    secret as it is, and what looks like an escape there is none."""
    marks = [mark for mark in (b"%", b"\\", b"&") if mark in text]
    if not marks:
        return
    seen = {text}
    for chosen in dict.fromkeys((b"".join(marks), *marks)):
        pattern = _escapes(chosen, quotes)
        child = pattern.sub(_plain, text)
        if child not in seen:
            seen.add(child)
            yield child, _Way(pattern, text)


class _Way:
    """Maps spans back through a substitution; computed only when something was found."""

    def __init__(self, pattern: re.Pattern[bytes], text: bytes) -> None:
        self._pattern, self._text = pattern, text
        self._starts: list[int] = []  # in the child, of every substitution and the plain text after it, alternating
        self._pieces: list[tuple[int, int]] = []  # in the text: where it starts, and its length (0: plain)

    def __call__(self, span: Span) -> Span:
        """Returns the span of the text that produced the child's `span`; a substitution counts as a whole."""
        if not self._starts:
            self._walk()
        return self._at(span[0])[0], self._at(span[1] - 1)[1]

    def _walk(self) -> None:
        self._starts, self._pieces = [0], [(0, 0)]
        at, after = 0, 0
        for match in self._pattern.finditer(self._text):
            at += match.start() - after
            after = match.end()
            self._starts.append(at)
            self._pieces.append((match.start(), after - match.start()))
            at += len(_plain(match))
            self._starts.append(at)
            self._pieces.append((after, 0))

    def _at(self, position: int) -> Span:
        index = bisect_right(self._starts, position) - 1
        start, length = self._pieces[index]
        if length:
            return start, start + length
        start += position - self._starts[index]
        return start, start + 1


_LINES = re.compile(rb"[^\0\t\r\n]+")
_FOLDED = re.compile(rb"(?:[^\0\t\r\n ]|(?<![\n ]) +)+")
_SIGNS_ONLY = re.compile(rb"[!-~]+")
_LETTERS_ONLY = re.compile(rb"[0-9A-Za-z]+")
_HEX_DIGITS = re.compile(rb"(?!0[xX])[0-9a-fA-F]")
_NUMBER = re.compile(rb"[0-9]+")


class _Left:
    """Maps spans back to a text of which only the matches of `pattern` were kept; computed only when something was found."""

    def __init__(self, pattern: re.Pattern[bytes], text: bytes) -> None:
        self._pattern, self._text = pattern, text
        self._starts: list[int] = []
        self._origins: list[int] = []

    def __call__(self, span: Span) -> Span:
        """Returns the span in the whole text, including what was left out within it."""
        if not self._starts:
            at = 0
            for match in self._pattern.finditer(self._text):
                self._starts.append(at)
                self._origins.append(match.start())
                at += match.end() - match.start()
        return self._at(span[0]), self._at(span[1] - 1) + 1

    def _at(self, position: int) -> int:
        index = bisect_right(self._starts, position) - 1
        return self._origins[index] + position - self._starts[index]


def _same(span: Span) -> Span:
    return span


def _kept(text: bytes, kept: bytes, pattern: re.Pattern[bytes]) -> Child:
    return kept, _same if len(kept) == len(text) else _Left(pattern, text)


def composed(inner: Callable[[Span], Span], outer: Callable[[Span], Span]) -> Callable[[Span], Span]:
    """Maps spans back through both, first `inner`."""
    return inner if outer is _same else lambda span: outer(inner(span))


def _hex(text: bytes) -> Iterator[Child]:
    """Returns all hex digits of the text in a row, whatever separates them: `68:75`, `68 75`, `0x68, 0x75`, `=68=75`."""
    digits = text.replace(b"0x", b"").replace(b"0X", b"").translate(None, _NO_HEX)
    if len(digits) < 2 * _LEAST:
        return
    left = _Left(_HEX_DIGITS, text)
    for offset in range(2):

        def back(span: Span, offset: int = offset) -> Span:
            return left((offset + 2 * span[0], offset + 2 * span[1]))

        yield unhexlify(digits[offset : len(digits) - (len(digits) - offset) % 2]), back


def _decimal(text: bytes) -> Iterator[Child]:
    """Returns numbers as bytes, as in `[104, 117]`; a number out of range becomes a zero."""
    if not _LISTED.search(text.translate(_SHAPES)):
        return

    def back(span: Span) -> Span:
        found = [match.span() for match in _NUMBER.finditer(text)]
        return found[span[0]][0], found[span[1] - 1][1]

    yield bytes([_VALUES.get(one, 0) for one in text.translate(_NUMBERS).split()]), back


def _utf16(digits: bytes) -> bytes:
    return bytes.fromhex(digits.decode()).decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _character(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b""


def _plain(match: re.Match[bytes]) -> bytes:
    return _meaning(match[0])


@lru_cache(1024)  # a text has few different ones
def _meaning(written: bytes) -> bytes:
    """Returns the decoded escape."""
    if written.startswith(b"&"):
        from html import unescape as html_unescape  # its table of names takes a millisecond to load

        return html_unescape(written.decode()).encode("utf-8", "surrogatepass")
    kind = written[1:2]
    if kind == b"U" or written.startswith(b"\\u{"):
        return _character(int(written[2:].strip(b"{}"), 16))
    if written.startswith(b"\\") and kind in b"0123" and len(written) > 2:
        return bytes(int(digits, 8) for digits in written[1:].split(b"\\"))
    if kind == b"u":
        return _utf16(written.replace(written[:2], b""))
    if written.startswith(b"%") or kind == b"x":
        return unhexlify(written.replace(b"%", b"").replace(b"\\x", b""))
    return _LETTERS.get(kind, kind)


def _runs(text: bytes, marks: bytes, least: int) -> list[Span]:
    return [match.span() for match in _run(least).finditer(text.translate(marks))]


@lru_cache
def _run(least: int) -> re.Pattern[bytes]:
    return re.compile(b"%b+" % (_MARK * least))


def _aligned(text: bytes, code: _Code) -> Iterator[Child]:
    """Returns the runs of the alphabet decoded at each alignment, as if the gaps, and what was cut off in front, were zeros."""
    pieces = Pieces(text, code.marks, code.least)
    if not pieces.text:
        return
    group, size = code.group, code.size
    written, zero = pieces.text.translate(code.zeroed), code.zeroed[:1]
    for before in range(group):
        after = -(len(written) + before) % group

        def back(span: Span, before: int = before) -> Span:
            return pieces.back((max(0, span[0] * group // size - before), -(-span[1] * group // size) - before))

        yield code.decode(zero * before + written + zero * after), back
