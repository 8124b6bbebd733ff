"""The clock as an argument: the runner reads and sleeps by it. The real one is here; tests pass a fake."""

import time
from datetime import UTC, datetime
from typing import Protocol

from runner.frozen import Frozen

# Seconds after a run's deadline for all that must not be lost, such as the end of a job, and for each single thing at a store
# that has not answered lately. It takes milliseconds; a run ends within 250 ms of its deadline, whatever hangs (decision 0200).
GRACE, LEAST = 0.15, 0.03


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
    grace: float = 0.0

    @classmethod
    def after(cls, clock: Clock, seconds: float | None, what: str, grace: float = 0.0) -> "Deadline":
        """Returns the deadline `seconds` from now; `None` means no limit. `what` names it in messages.

        `grace` is the seconds after it for what must not be lost.
        """
        return cls(clock, float("inf") if seconds is None else clock.monotonic() + seconds, what, grace)

    @property
    def remaining(self) -> float:
        """Seconds until it passes, never below zero."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def remaining_with_grace(self) -> float:
        """Seconds for what must not be lost: until it passes, or what is left of the grace time, never below zero."""
        left = self.at - self.clock.monotonic()
        return max(left, min(self.grace, left + self.grace), 0.0)

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
