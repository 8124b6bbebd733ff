"""The clock as an argument: the runner reads and sleeps by it. The real one is here; tests pass a fake."""

import time
from datetime import UTC, datetime
from typing import Protocol

from runner.frozen import Frozen


class Clock(Protocol):
    """Wall time for codes, dates and records; monotonic time for durations and deadlines. All in seconds."""

    def time(self) -> float:
        """Returns the seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Returns the seconds of a clock that never steps."""

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds`."""


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        """Returns the seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Returns the seconds of a clock that never steps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds` without blocking other tasks."""
        import asyncio

        await asyncio.sleep(seconds)


class Deadline(Frozen):
    """A time on the monotonic clock; infinite when nothing limits the work."""

    clock: Clock
    at: float = float("inf")
    what: str = "the work"

    @classmethod
    def after(cls, clock: Clock, seconds: float | None, what: str) -> "Deadline":
        """Returns the deadline `seconds` from now; `None` means no limit. `what` names it in messages."""
        return cls(clock, float("inf") if seconds is None else clock.monotonic() + seconds, what)

    @property
    def remaining(self) -> float:
        """Seconds until it passes, never below zero."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining <= 0

    def minus(self, seconds: float) -> "Deadline":
        """Returns the same deadline, earlier by these seconds."""
        return Deadline(self.clock, self.at - seconds, self.what)

    def min(self, other: "Deadline") -> "Deadline":
        """Returns the stricter of the two."""
        return self if self.at <= other.at else other


def rfc3339(seconds: float) -> str:
    """Formats a Unix time as UTC in RFC 3339 with milliseconds, for logs, records and reports."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
