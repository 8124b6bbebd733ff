"""Regular expressions of users, which search texts from outside: their time is bounded."""

import re
import warnings

MAX_PATTERN = 200  # characters
MAX_REPEATS = 2  # without an upper end: the time grows with the length of the text to the power of their number


def bounded(pattern: str) -> str:
    """The regular expression itself. Raises ValueError for one that is none, is long, or may take time without end."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a later Python reads in another way
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError):
        raise ValueError("not a regular expression (see docs.python.org/3/library/re)") from None
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern)
    if re.search(r"\)[*+{]", plain) or len(re.findall(r"[*+]|,\}", plain)) > MAX_REPEATS:
        raise ValueError(
            f"may take time without end; no repeat of a group, and at most {MAX_REPEATS} open repeats (* or +)"
        )
    return pattern
