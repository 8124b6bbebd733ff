"""Requested faults: which response to change, how, and how often."""

import random
from dataclasses import asdict, dataclass
from typing import Any

KINDS = (
    "status",
    "latency",
    "reset_before",
    "reset_after",
    "drip",
    "expire_tokens",
    "job_fails",
    "job_stalls",
    "clock_offset",
)
ENDPOINTS = ("login", "refresh", "trigger", "status", "cancel", "*")


@dataclass(slots=True)
class Fault:
    """One fault. `times` is how often it still applies (-1: always), after `skip` unaffected requests.

    `seconds` is the latency, the pause between dripped bytes, or the clock offset. `chance` is its probability.
    """

    kind: str
    endpoint: str = "*"
    times: int = 1
    skip: int = 0
    status: int = 503
    retry_after: str | None = None
    seconds: float = 0.0
    sync_type: str | None = None
    chance: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown kind or endpoint."""
        if self.kind not in KINDS:
            raise ValueError(f"fault kind must be one of {', '.join(KINDS)}")
        if self.endpoint not in ENDPOINTS:
            raise ValueError(f"fault endpoint must be one of {', '.join(ENDPOINTS)}")


def parse(text: str) -> Fault:
    """Parses a fault from `kind=status,endpoint=trigger,status=503,times=2`. Raises ValueError."""
    kinds: dict[str, Any] = {"times": int, "skip": int, "status": int, "seconds": float, "chance": float}
    values: dict[str, Any] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or key not in Fault.__slots__:
            raise ValueError(f"`{pair}`: give key=value with a key of {', '.join(Fault.__slots__)}")
        values[key] = kinds.get(key, str)(value)
    return Fault(**values)


class Faults:
    """The active faults, and which of them applies next."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """Starts with `faults`."""
        self._faults = [Fault(**asdict(fault)) for fault in faults]

    def add(self, fault: Fault) -> None:
        """One more."""
        self._faults.append(fault)

    def all(self) -> list[Fault]:
        """Returns the active faults."""
        return self._faults

    def clear(self) -> None:
        """Removes all."""
        self._faults.clear()

    def strike(self, *kinds: str, endpoint: str = "*", sync_type: str | None = None) -> Fault | None:
        """Returns the fault of one of `kinds` that applies now, and counts it."""
        for fault in self._faults:
            if fault.kind not in kinds or fault.times == 0:
                continue
            if fault.endpoint not in ("*", endpoint) or fault.sync_type not in (None, sync_type):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if random.random() >= fault.chance:
                continue
            fault.times -= fault.times > 0
            return fault
        return None
