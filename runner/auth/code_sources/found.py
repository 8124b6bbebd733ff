"""Finds a code in external text, by the pattern of the settings. Time is bounded by line, length and pattern."""

import re

from runner.external import HIDDEN

MAX_LINE = 500  # characters of a line that are searched
MAX_LINES = 2000


def code_in(text: str, pattern: str) -> str | None:
    """Returns the first match, line by line: its first group, else the whole. None where there is none."""
    wanted = re.compile(pattern)
    for line in text.splitlines()[:MAX_LINES]:
        match = wanted.search(line[:MAX_LINE])
        found = None if match is None else match[1] if wanted.groups else match[0]
        if found and found.strip():
            return found.strip()
    return None


def without_codes(text: str, pattern: str) -> str:
    """Returns `text` without possible codes: they are not known yet, so the redactor cannot find them."""
    lines = (line[:MAX_LINE] for line in text.splitlines()[:MAX_LINES])
    return "\n".join(re.sub(pattern, HIDDEN, line) for line in lines)
