"""External text (from an API, a gateway, a cluster, a folder's name): a type that is not printed, and the one way to
show it.

`ExternalText` carries such text from the wire to its use. `show` makes it printable: it redacts, then escapes, then
truncates. Another order could split a secret and so hide it from the redactor.
"""
# Decisions 0095, 0151, 0165.

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

PLACEHOLDER = "<external text>"
HIDDEN = "***"  # replaces a secret
ELLIPSIS = "…"
MAX_WORDS = 300  # maximum shown characters of a message from our servers (a cluster, a database)
# Log commands of Azure Pipelines and TeamCity are recognised anywhere in a line. Those of GitHub start a line, perhaps
# after spaces, so a text that could stand first in a line is changed. Those of GitLab and Jenkins contain an escape
# character: escaping control characters disables them.
_LOG_COMMAND = re.compile(r"##(?=vso\[|teamcity\[|\[)", re.IGNORECASE)
_FIRST_COMMAND = re.compile(r"(\s*):(?=:[A-Za-z])")
_UNIT = re.compile(r"\*\*\*|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[nrt]|.", re.DOTALL)
_BEYOND = 2048  # characters after a cut in which a secret is still recognised
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _unchanged(text: str) -> str:
    return text


_redact: Callable[[str], str] = _unchanged


class ExternalText:
    """External text. `raw` is for machine use only: a path, a comparison, a database.

    The type checker refuses to print it (`tools/mypy_external.py`): f-strings, `str`, `repr`, `print`, `format`. At run
    time it prints as a placeholder and does not raise: what prints is mostly an error message on a rare path, and an
    exception there would replace the real fault, and its exit code, by a defect.
    """

    __slots__ = ("raw",)
    raw: str

    def __init__(self, raw: str) -> None:
        """`raw`: the unchanged text."""
        object.__setattr__(self, "raw", raw)

    def __setattr__(self, name: str, _value: object) -> None:
        """Raises AttributeError: the text is immutable."""
        raise AttributeError(f"cannot assign to {name!r}")

    def __str__(self) -> str:
        """The placeholder."""
        return PLACEHOLDER

    __repr__ = __str__

    def __format__(self, _spec: str) -> str:
        """Returns the placeholder, whatever the format."""
        return PLACEHOLDER

    def __len__(self) -> int:
        """Returns the number of characters of the raw text; empty text is false."""
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is the same text, external or our own."""
        return self.raw == (other.raw if isinstance(other, ExternalText) else other)

    def __hash__(self) -> int:
        """Returns the hash of the raw text, to which it is equal."""
        return hash(self.raw)

    def __reduce__(self) -> tuple[type["ExternalText"], tuple[str]]:
        """Supports copy and pickle, which cannot assign."""
        return ExternalText, (self.raw,)


@contextmanager
def redacting_with(redact: Callable[[str], str]) -> Iterator[None]:
    """Within this block, `show` redacts with `redact`, in every thread: the process has one redactor at a time."""
    global _redact
    before, _redact = _redact, redact
    try:
        yield
    finally:
        _redact = before


def show(text: ExternalText | str, limit: int) -> str:
    """Returns `text` printable: redacted, then escaped, then truncated to at most `limit` characters (at least 1).

    Control characters, line separators, bidirectional and invisible format characters and lone surrogates become
    `\\x1b`, `\\u202e` and the like, so one value stays one line; log commands of CI systems lose their effect. The
    writer of a medium (HTML, a table) escapes its markup. The cut never splits an escape or `***`.
    """
    whole = raw(text)
    seen = 4 * limit + 2 * _BEYOND
    if len(whole) <= seen:
        return cut(escape(_redact(whole)), limit)
    known = _redact(whole[:seen])[:-_BEYOND]  # its end may contain the beginning of a secret
    return cut(escape(known) + ELLIPSIS, limit)


def raw(text: ExternalText | str) -> str:
    """Returns the unchanged text, for machine use only: a path, a comparison, a database."""
    return text.raw if isinstance(text, ExternalText) else text


def show_lines(lines: Sequence[str], limit: int) -> list[str]:
    """Returns `show` of each line of a text, with spaces for tabs. Searches the text for secrets as a whole, which is ten
    times as fast as line by line; only a text with a secret is searched again."""
    together = "\n".join(lines)
    if _redact(together) != together:
        lines = [_redact(line) for line in lines]
    return [cut(escape(line.expandtabs(4)), limit) for line in lines]


def escape(text: str) -> str:
    """Returns `text` in one line without control sequences for a terminal, a log viewer or a CI system."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    found = _FIRST_COMMAND.match(text)
    if found:
        text = f"{found[1]}\\x3a{text[found.end() :]}"
    return _LOG_COMMAND.sub(r"#\\x23", text)


def _visible(character: str) -> str:
    import unicodedata  # rarely needed

    if character.isprintable() or unicodedata.category(character) == "Zs":  # a no-break space, say
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cut(text: str, limit: int) -> str:
    """Returns `text`, or its beginning and `…`, in at most `limit` characters. Never ends within an escape or `***`."""
    if len(text) <= limit:
        return text
    end = 0
    for unit in _UNIT.finditer(text):
        if unit.end() > limit - len(ELLIPSIS):
            break
        end = unit.end()
    return text[:end] + ELLIPSIS
