"""Renews the leases of a run's jobs together: one write for all that are due soon, not one per job.

Ten thousand jobs that each wrote their own every 20 seconds would write 500 times per second: decision 0186.
"""

from typing import Protocol

from runner.clock import Clock, Deadline
from runner.errors import RunnerError
from runner.state.interface import JobLedger

LEASE_SECONDS = 60.0  # a lease holder that did not renew for this long counts as dead
RENEW_SECONDS = 20.0
TOGETHER_SECONDS = 10.0  # a lease that is due this soon is renewed with one that is due now


class Leased(Protocol):
    """The lease of a job: its entry, its holder in the entry, and when it must be renewed (Unix seconds)."""

    key: str | None
    holder: str
    renew_at: float

    def renewed(self, leased: bool | None, began: float) -> None:
        """Records a renewal requested at `began` of the monotonic clock; None: unknown whether it is ours."""


class Leases:
    """The current leases of one run."""

    def __init__(self) -> None:
        """None yet."""
        self._ours: dict[int, Leased] = {}

    def add(self, one: Leased) -> None:
        """Renews it with the others from now on."""
        self._ours[id(one)] = one

    def drop(self, one: Leased) -> None:
        """Stops renewing it: it was left, or is another's."""
        self._ours.pop(id(one), None)

    async def renew(self, first: Leased, ledger: JobLedger, clock: Clock, deadline: Deadline) -> None:
        """Takes or renews the lease of `first`, and renews those that are due soon. Raises what the ledger raises."""
        now, began = clock.time(), clock.monotonic()
        soon = now + TOGETHER_SECONDS
        asked = {
            one.key: one for one in (*self._ours.values(), first) if one.key and (one is first or one.renew_at <= soon)
        }
        before = {key: one.renew_at for key, one in asked.items()}
        for one in asked.values():
            one.renew_at = now + RENEW_SECONDS  # prevents a second request in the meantime
        try:
            holders = {key: one.holder for key, one in asked.items()}
            ours = await ledger.renew(holders, now=now, until=now + LEASE_SECONDS, deadline=deadline)
        except RunnerError:
            for key, one in asked.items():
                if one.key == key:
                    one.renewed(None, began)
            raise
        except BaseException:  # a signal, a deadline: the others retry when they are due
            for key, one in asked.items():
                one.renew_at = before[key]
            raise
        for key, one in asked.items():
            if one.key == key:  # otherwise it has ended
                one.renewed(key in ours, began)
