"""Reads a job's informational values: progress, counts, times, words. Pure.

They decide nothing, so an invalid one ends no run: obvious forms are normalised, the others are left out and listed.
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
# A number this large is a time in milliseconds, microseconds or nanoseconds, not in seconds (the year 5138).
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))


class Unreadable(ValueError):
    """The value has an invalid form."""


class Informing:
    """Reads such values from one job's object; `unreadable` lists those that were left out."""

    def __init__(self, data: JSON) -> None:
        """`data`: the job's object from the API."""
        self._data = data
        self.unreadable: tuple[str, ...] = ()

    def read(self, name: str, expression: str | None, normalised: Callable[[JSON], T]) -> T | None:
        """Returns the value at `expression`; None where it is missing or unreadable."""
        return self.convert(name, lambda: None if expression is None else find(self._data, expression), normalised)

    def convert(self, name: str, finds: Callable[[], JSON], normalised: Callable[[JSON], T]) -> T | None:
        """Returns what `finds` returns in its normal form; None where it is missing or unreadable."""
        try:
            found = finds()
            return None if found is None else normalised(found)
        except (Unreadable, ContractError, OverflowError):
            self.unreadable = (*self.unreadable, name)
            return None


def number(found: JSON) -> float:
    """Parses a number, from a number or its text, with or without a per cent sign."""
    if isinstance(found, str):
        try:
            found = float(found.strip().removesuffix("%"))
        except ValueError:
            raise Unreadable from None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise Unreadable
    return float(found)


def percent(found: JSON) -> float:
    """Returns per cent from 0 to 100; values beyond are clamped."""
    return min(100.0, max(0.0, number(found)))


def fraction(found: JSON) -> float:
    """Returns the same from a share of 1; a text with a per cent sign already is per cent."""
    shown = isinstance(found, str) and found.strip().endswith("%")
    return percent(found) if shown else min(100.0, max(0.0, 100.0 * number(found)))


def count(found: JSON) -> int:
    """Parses a whole number from 0."""
    value = number(found)
    if value < 0 or value != int(value) or value > 1e15:
        raise Unreadable
    return int(value)


def is_whole(found: JSON) -> bool:
    """Whether it is a whole number: some servers write each number with a point, as 17.0, or large ones as 1e3."""
    if isinstance(found, float):
        return found.is_integer() and abs(found) <= 2**53  # a larger one has lost digits
    return isinstance(found, int) and not isinstance(found, bool)


def word(found: JSON) -> ExternalText:
    """Returns text, or a number as text. Escapes lone surrogates, which no file or header accepts."""
    if isinstance(found, str):
        return ExternalText(found.encode("utf-8", "backslashreplace").decode())
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Unreadable
    return ExternalText(str(int(found) if is_whole(found) else found))


def time(found: JSON) -> ExternalText | None:
    """Returns a time as the API writes it; a number, or its text, is Unix seconds or a fraction unit, converted to RFC 3339."""
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
