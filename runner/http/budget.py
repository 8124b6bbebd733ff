"""How much retrying a run may do in all, so that a struggling API is not hammered, and when it counts as down. Pure.

One budget goes with one client, and so for all accounts of a run. A retry takes a token, an answer gives half a one back
(as in gRPC's retry throttling): an API that fails two requests of three is soon asked no more than once each. At one
failure in five, as in a rolling restart, the store stays full.
"""
# Decision 0025.

from collections.abc import Callable
from dataclasses import dataclass

GIVEN_BACK = 0.5  # of a token, for each answer that is no failure
DOWN_AFTER = 10  # failures in a row ...
DOWN_SECONDS = 10.0  # ... over at least so long: many accounts meet one short fault at once


@dataclass(slots=True)
class Budget:
    """The retries that are left to a run, and the failures since the last good answer."""

    size: float
    monotonic: Callable[[], float]
    remaining: float = 0.0
    failures: int = 0
    failing_since: float = 0.0
    down_seconds: float = DOWN_SECONDS

    def __post_init__(self) -> None:
        """Begin with a full store."""
        self.remaining = self.size

    def answered(self) -> None:
        """An exchange ended with an answer that is no failure."""
        self.remaining = min(self.size, self.remaining + GIVEN_BACK)
        self.failures = 0

    def failed(self) -> None:
        """An exchange ended without an answer, or with the server's own failure."""
        if not self.failures:
            self.failing_since = self.monotonic()
        self.failures += 1

    def spend(self) -> bool:
        """Take what one retry costs; false where nothing is left to take."""
        if self.remaining < 1:
            return False
        self.remaining -= 1
        return True

    @property
    def down(self) -> str | None:
        """Why the API counts as down, so that nothing new is begun; None while it does not."""
        if not self.failures:
            return None
        if self.remaining < 1:
            return "the run's retries are spent"
        lasted = self.monotonic() - self.failing_since
        if self.failures >= DOWN_AFTER and lasted >= self.down_seconds:
            return f"its last {self.failures} requests failed, over {lasted:.0f} s"
        return None
