"""Values of a job that only inform: progress, counts, times, words. Pure.

They never decide, so that none of them ends a run: what is obvious is normalised, the rest is left out and named.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from runner.errors import ContractError
from runner.external import ExternalText
from runner.models import JSON
from runner.profile.expressions import find

T = TypeVar("T")
# A number as large as these is a time in milliseconds, microseconds or nanoseconds, not in seconds (the year 5138).
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))


class Unreadable(ValueError):
    """The value is not what it should be."""


class Informing:
    """Reads such values out of one job's object; `unreadable` names those that were left out."""

    def __init__(self, data: JSON) -> None:
        """`data`: the job as the API wrote it."""
        self._data = data
        self.unreadable: tuple[str, ...] = ()

    def read(self, name: str, expression: str | None, normalised: Callable[[JSON], T]) -> T | None:
        """The value at `expression`; None where it is not told, or cannot be read."""
        try:
            found = None if expression is None else find(self._data, expression)
            return None if found is None else normalised(found)
        except (Unreadable, ContractError, OverflowError):
            self.unreadable = (*self.unreadable, name)
            return None


def number(found: JSON) -> float:
    """A number, from a number or its text, with or without a per cent sign."""
    if isinstance(found, str):
        try:
            found = float(found.strip().removesuffix("%"))
        except ValueError:
            raise Unreadable from None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise Unreadable
    return float(found)


def percent(found: JSON) -> float:
    """Per cent from 0 to 100; what is beyond is cut."""
    return min(100.0, max(0.0, number(found)))


def fraction(found: JSON) -> float:
    """The same from a share of 1; a text with a per cent sign is one already."""
    shown = isinstance(found, str) and found.strip().endswith("%")
    return percent(found) if shown else min(100.0, max(0.0, 100.0 * number(found)))


def count(found: JSON) -> int:
    """A whole number from 0."""
    value = number(found)
    if value < 0 or value != int(value) or value > 1e15:
        raise Unreadable
    return int(value)


def word(found: JSON) -> ExternalText:
    """Text, or a number as text. Half characters, which no file or header takes, are written out."""
    if isinstance(found, str):
        return ExternalText(found.encode("utf-8", "backslashreplace").decode())
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Unreadable
    return ExternalText(str(found))


def time(found: JSON) -> ExternalText | None:
    """A time as the API writes it; a number, or its text, is Unix seconds or a part of them, and becomes RFC 3339."""
    if isinstance(found, str) and not found.strip().removeprefix("-").replace(".", "", 1).isdigit():
        return word(found) or None
    value = number(found)
    if value == 0:  # not started
        return None
    unit = next((unit for least, unit in _UNITS if value >= least), None)
    if unit is None:
        raise Unreadable
    return ExternalText(
        datetime.fromtimestamp(value / unit, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
