"""Regular expressions from users, which search external text: their time is bounded."""

import re
import warnings

MAX_PATTERN = 200  # characters
MAX_REPEATS = 2  # without an upper limit: the time grows with the length of the text to the power of their number


def bounded(pattern: str) -> str:
    """Returns the valid regular expression. Raises ValueError for one that is invalid, long, or may take unlimited time."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # syntax that a later Python interprets differently
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError):
        raise ValueError("not a regular expression (see docs.python.org/3/library/re)") from None
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern)
    if re.search(r"\)[*+{]", plain) or len(re.findall(r"[*+]|,\}", plain)) > MAX_REPEATS:
        raise ValueError(
            f"may take unlimited time; do not repeat a group, and use at most {MAX_REPEATS} open repeats (* or +)"
        )
    return pattern
