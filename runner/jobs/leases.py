"""The leases of a run's jobs, renewed together: one write for all that are due soon, not one for each job.

Ten thousand jobs that each wrote their own every 20 seconds would write 500 times a second: decision 0186.
"""

from typing import Protocol

from runner.clock import Clock, Deadline
from runner.errors import RunnerError
from runner.state.interface import JobLedger

LEASE_SECONDS = 60.0  # without a renewal for so long, whoever polled a job counts as dead
RENEW_SECONDS = 20.0
TOGETHER_SECONDS = 10.0  # a lease that is due so soon is renewed with another that is due now


class Leased(Protocol):
    """Who polls a job: its entry, its name in the entry, and when the lease is to be renewed (Unix seconds)."""

    key: str | None
    holder: str
    renew_at: float

    def renewed(self, leased: bool | None, began: float) -> None:
        """The lease was asked for at `began` of the monotonic clock; None: nobody knows whether it is ours."""


class Leases:
    """Those that are ours now, of one run."""

    def __init__(self) -> None:
        """None yet."""
        self._ours: dict[int, Leased] = {}

    def add(self, one: Leased) -> None:
        """Renew it with the others from now on."""
        self._ours[id(one)] = one

    def drop(self, one: Leased) -> None:
        """It is left, or another's: no write for others may renew it."""
        self._ours.pop(id(one), None)

    async def renew(self, first: Leased, ledger: JobLedger, clock: Clock, deadline: Deadline) -> None:
        """Take or renew the lease of `first`, and renew those that are due soon. Raises what the ledger raises."""
        now, began = clock.time(), clock.monotonic()
        soon = now + TOGETHER_SECONDS
        asked = {
            one.key: one for one in (*self._ours.values(), first) if one.key and (one is first or one.renew_at <= soon)
        }
        before = {key: one.renew_at for key, one in asked.items()}
        for one in asked.values():
            one.renew_at = now + RENEW_SECONDS  # nobody asks again meanwhile
        try:
            holders = {key: one.holder for key, one in asked.items()}
            ours = await ledger.renew(holders, now=now, until=now + LEASE_SECONDS, deadline=deadline)
        except RunnerError:
            for key, one in asked.items():
                if one.key == key:
                    one.renewed(None, began)
            raise
        except BaseException:  # a signal, a deadline: the others ask again when it is their turn
            for key, one in asked.items():
                one.renew_at = before[key]
            raise
        for key, one in asked.items():
            if one.key == key:  # else it has ended meanwhile
                one.renewed(key in ours, began)
