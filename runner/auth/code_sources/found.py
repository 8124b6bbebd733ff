"""Finds a code in external text, by the pattern of the settings. Time is bounded by line, length and pattern."""

import re
import unicodedata

from runner.external import HIDDEN

MAX_LINE = 500  # characters of a line that are searched
MAX_LINES = 2000
_DIGITS = re.compile(r"[0-9]{4,10}|[0-9]{3}[ -][0-9]{3}")
_UNSEEN = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\u00ad\u200b-\u200f\u2060\ufeff]")


def code_in(text: str, pattern: str) -> str | None:
    """Returns the first match, line by line: its first group, else the whole. None where there is none.

    Colours and characters without width are left out, and digits in groups (123 456, 123-456) are joined: services
    show codes so, and take them without.
    """
    wanted = re.compile(pattern)
    for line in text.splitlines()[:MAX_LINES]:
        match = wanted.search(_plain(line[:MAX_LINE]))
        found = None if match is None else match[1] if wanted.groups else match[0]
        if found and found.strip():
            joined = re.sub(r"[\s\-.]", "", found)
            return joined if joined.isdigit() else found.strip()
    return None


def _plain(line: str) -> str:
    """Returns the line in plain characters: digits of full width become ASCII, other spaces a space (NFKC)."""
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", line))


def without_codes(text: str, pattern: str) -> str:
    """Returns `text` without possible codes, in whatever place: they are not known yet, so the redactor cannot find them."""
    lines = (_plain(line[:MAX_LINE]) for line in text.splitlines()[:MAX_LINES])
    return "\n".join(_DIGITS.sub(HIDDEN, re.sub(pattern, HIDDEN, line)) for line in lines)
