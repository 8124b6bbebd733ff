"""Leases are renewed together: few writes for many jobs, and each is told what became of its own."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.clock import Deadline
from runner.errors import StateError
from runner.jobs.leases import RENEW_SECONDS, Leases
from runner.state.entry import Entry
from runner.state.sqlite_ledger import SqliteLedger
from tests.support.ledgers import with_ledger
from tests.support.login_model import FakeClock


class Polled:
    """Who polls a job, in short."""

    def __init__(self, leases: Leases, key: str, holder: str = "us") -> None:
        self.key: str | None = key
        self.holder, self.renew_at = holder, 0.0
        self.leased: bool | str | None = "not told"
        self._leases = leases

    def renewed(self, leased: bool | None, began: float) -> None:
        self.leased = leased
        (self._leases.add if leased else self._leases.drop)(self)


class CountingLedger:
    """A real ledger whose renewals are counted; it refuses where that is asked."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger, self.asked, self.refuses = ledger, list[set[str]](), False

    async def renew(self, holders: Mapping[str, str], **more: float | Deadline) -> frozenset[str]:
        self.asked.append(set(holders))
        if self.refuses:
            raise StateError("the disk is full")
        return await self._ledger.renew(holders, **more)  # type: ignore[arg-type]


async def _opened(
    ledger: SqliteLedger, clock: FakeClock, count: int, holder: str = "us"
) -> tuple[Leases, list[Polled]]:
    """So many jobs, each with an entry and a lease of 60 s."""
    leases = Leases()
    polled = [Polled(leases, f"key-{number}", holder) for number in range(count)]
    for one in polled:
        assert one.key is not None
        entry = Entry(
            one.key, one.key, "a", "health", "health", "run", clock.now, holder=holder, lease_until=clock.now + 60
        )
        await ledger.intend(entry, Deadline(clock))
        one.renew_at = clock.now + RENEW_SECONDS
        leases.add(one)
    return leases, polled


def test_a_hundred_jobs_renew_their_leases_by_one_write(tmp_path: Path) -> None:
    clock = FakeClock()

    async def work(ledger: SqliteLedger) -> None:
        leases, polled = await _opened(ledger, clock, 100)
        counted = CountingLedger(ledger)
        for _ in range(10):
            clock.now += RENEW_SECONDS
            for one in polled:
                if clock.now >= one.renew_at:
                    await leases.renew(one, counted, clock, Deadline(clock))  # type: ignore[arg-type]
        assert len(counted.asked) == 10
        entry = await ledger.newest("key-99", "health", Deadline(clock))
        assert entry is not None
        assert entry.lease_until == clock.now + 60

    with_ledger(tmp_path, work, clock)


def test_a_lease_that_another_took_meanwhile_is_told_to_its_poller_alone(tmp_path: Path) -> None:
    clock = FakeClock()

    async def work(ledger: SqliteLedger) -> None:
        leases, polled = await _opened(ledger, clock, 3)
        clock.now += 61
        assert await ledger.lease("key-1", "them", now=clock.now, until=clock.now + 60, deadline=Deadline(clock))
        await leases.renew(polled[0], ledger, clock, Deadline(clock))
        assert [one.leased for one in polled] == [True, False, True]

    with_ledger(tmp_path, work, clock)


def test_a_job_that_was_left_is_not_renewed_with_the_others(tmp_path: Path) -> None:
    clock = FakeClock()

    async def work(ledger: SqliteLedger) -> None:
        leases, polled = await _opened(ledger, clock, 3)
        leases.drop(polled[1])
        polled[2].key = None  # ended
        clock.now += RENEW_SECONDS
        counted = CountingLedger(ledger)
        await leases.renew(polled[0], counted, clock, Deadline(clock))  # type: ignore[arg-type]
        assert counted.asked == [{"key-0"}]

    with_ledger(tmp_path, work, clock)


def test_a_ledger_that_refuses_is_asked_once_and_all_are_told(tmp_path: Path) -> None:
    clock = FakeClock()

    async def work(ledger: SqliteLedger) -> None:
        leases, polled = await _opened(ledger, clock, 3)
        counted = CountingLedger(ledger)
        counted.refuses = True
        clock.now += RENEW_SECONDS
        with pytest.raises(StateError):
            await leases.renew(polled[0], counted, clock, Deadline(clock))  # type: ignore[arg-type]
        assert len(counted.asked) == 1
        assert [one.leased for one in polled] == [None, None, None]

    with_ledger(tmp_path, work, clock)


def test_a_renewal_that_a_signal_ends_leaves_the_others_due(tmp_path: Path) -> None:
    clock = FakeClock()

    class Hanging:
        async def renew(self, *_words: object, **_more: object) -> frozenset[str]:
            await asyncio.sleep(60)
            return frozenset()

    async def work(ledger: SqliteLedger) -> None:
        leases, polled = await _opened(ledger, clock, 2)
        before = [one.renew_at for one in polled]
        clock.now += RENEW_SECONDS
        task = asyncio.create_task(leases.renew(polled[0], Hanging(), clock, Deadline(clock)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert [one.renew_at for one in polled] == before

    with_ledger(tmp_path, work, clock)
