"""The retry budget of a run: limits all its retries, so that a failing API is not overloaded, and detects an outage.
Pure.

One budget belongs to one client, and so covers all accounts of a run. A retry takes a token, a response restores half a
token (as in gRPC's retry throttling): an API that fails two of three requests soon gets no retries. At one
failure in five, as in a rolling restart, the budget stays full.
"""
# Decision 0025.

from collections.abc import Callable
from dataclasses import dataclass

GIVEN_BACK = 0.5  # of a token, for each response that is not a failure
DOWN_AFTER = 10  # failures in a row ...
DOWN_SECONDS = 10.0  # ... over at least this long: one short fault affects many accounts at once


@dataclass(slots=True)
class Budget:
    """The remaining retries of a run, and the failures since the last good response."""

    size: float
    monotonic: Callable[[], float]
    remaining: float = 0.0
    failures: int = 0
    failing_since: float = 0.0
    down_seconds: float = DOWN_SECONDS

    def __post_init__(self) -> None:
        """Starts with a full budget."""
        self.remaining = self.size

    def answered(self) -> None:
        """Records an exchange with a response that is not a failure."""
        self.remaining = min(self.size, self.remaining + GIVEN_BACK)
        self.failures = 0

    def failed(self) -> None:
        """Records an exchange without a response, or with a server failure."""
        if not self.failures:
            self.failing_since = self.monotonic()
        self.failures += 1

    def spend(self) -> bool:
        """Takes the cost of one retry; returns false where nothing is left."""
        if self.remaining < 1:
            return False
        self.remaining -= 1
        return True

    @property
    def down(self) -> str | None:
        """Returns why the API counts as down, so that nothing new starts; None while it does not."""
        if not self.failures:
            return None
        if self.remaining < 1:
            return "the run's retry budget is exhausted"
        lasted = self.monotonic() - self.failing_since
        if self.failures >= DOWN_AFTER and lasted >= self.down_seconds:
            return f"its last {self.failures} requests failed, over {lasted:.0f} s"
        return None
