"""The ledger in PostgreSQL, for any number of processes on any number of hosts.

The lock of a trigger is a lease with an epoch, like an account's. The holder trusts it only as long as its own clock
allows, measured from before the request; a successor takes it later, by the database's clock. So a disconnected or
stopped holder has given up before another starts.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner.clock import GRACE, Clock, Deadline
from runner.errors import DeadlineExceeded, RunnerError, StateError, Unreachable
from runner.external import ExternalText, raw, show
from runner.models import JSON
from runner.state import postgresql_statements as sql
from runner.state.entry import KEPT_EACH, PRUNE_SECONDS, Entry
from runner.state.interface import FINISH_SECONDS, Turn, trigger_key
from runner.state.postgresql_connections import Connections
from runner.state.write_behind import WriteBehind

if TYPE_CHECKING:
    from runner.state.postgresql_inventory import PostgresqlInventory

LEASE_SECONDS = 10.0  # of a trigger's lock; renewed while it is held
RENEW_SECONDS = 3.0
MARGIN = 1.0  # seconds before the end of its lease at which a holder gives up: clocks run at different rates
PATIENCE = 60.0  # seconds for which a database that fails in mid-run is retried
_PRUNING = "prune"  # the key of the lock whose expiry is the time of the next pruning


class PostgresqlLedger:
    """The ledger of one process."""

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        *,
        redact: Callable[[str], str] = str,
        warn: Callable[[str], None] = lambda _problem: None,
        keep: float | None = None,
    ) -> None:
        """Uses the connections of the accounts' state. Opens nothing yet."""
        self._connections, self._clock, self._redact, self._warn, self._keep = connections, clock, redact, warn, keep
        self._behind = WriteBehind(connections.name, warn)
        self._holder = f"{socket.gethostname()}-{uuid4().hex}"
        self._turns: dict[str, LeasedTurn] = {}
        self._used = False

    @property
    def inventory(self) -> "PostgresqlInventory":
        """For `sync-runner state`."""
        from runner.state.postgresql_inventory import PostgresqlInventory

        return PostgresqlInventory(self._connections, self.prune, self._believed)

    async def open(self, deadline: Deadline) -> None:
        """As in JobLedger: connects, and creates missing tables."""
        await self._connections.one("SELECT 1", {}, deadline)
        self._used = True

    async def close(self, deadline: Deadline) -> None:
        """Finishes pending writes, for a short time, and deletes old data once a day."""
        within = Deadline.after(self._clock, FINISH_SECONDS, "the time to finish").min(deadline)
        await self._behind.finish(within)
        if self._keep is None or not self._used or within.expired:
            return
        with suppress(RunnerError):
            values = {"key": _PRUNING, "holder": self._holder, "lease": PRUNE_SECONDS}
            if await self._connections.one(sql.TAKE_PRUNING, values, within) is not None:
                await self.prune(self._keep, within)

    async def prune(self, keep: float, deadline: Deadline) -> tuple[int, int]:
        """Deletes what is older than `keep` seconds. Returns the numbers of ended syncs and of unused accounts."""
        row = await self._connections.one(sql.PRUNE, {"keep": keep}, deadline)
        return (0, 0) if row is None else (row[0], row[1])

    async def intend(self, entry: Entry, deadline: Deadline) -> None:
        """As in JobLedger. Raises StateError where the lock of the trigger was lost: nothing was sent."""
        turn = self._turns.get(trigger_key(entry.target, entry.name))
        lock = turn.values if turn else {"lock": None, "lock_holder": None, "epoch": None}
        values = dict(zip(sql.NAMES, entry.as_row(), strict=True)) | lock
        # The lease is an expiry time by our clock; the database has its own clock.
        values |= {
            "lease": LEASE_SECONDS,
            "seconds": max(0.0, entry.lease_until - entry.intended_at),
            "most": KEPT_EACH,
        }
        began = self._clock.monotonic()
        if await self._patiently(sql.INTEND, values, deadline) is None:
            raise StateError(f"{self._connections.name}: another process took over the trigger; nothing was sent")
        if turn is not None:
            turn.renewed(began)

    async def lease(self, key: str, holder: str, *, now: float, until: float, deadline: Deadline) -> bool:
        """As in JobLedger; see `renew`."""
        return key in await self.renew({key: holder}, now=now, until=until, deadline=deadline)

    async def renew(
        self, holders: Mapping[str, str], *, now: float, until: float, deadline: Deadline
    ) -> frozenset[str]:
        """As in JobLedger; the leases end `until - now` from now by the database's clock."""
        values = {"keys": [*holders], "holders": [*holders.values()], "seconds": until - now}
        return frozenset(row[0] for row in await self._connections.rows(sql.RENEW, values, deadline))

    async def watched(self, key: str, now: float, deadline: Deadline) -> bool:  # noqa: ARG002 - the database has its own clock
        """As in JobLedger."""
        return await self._connections.one(sql.WATCHED, {"key": key}, deadline) is not None

    async def triggered(
        self,
        key: str,
        job_id: ExternalText | str,
        deadline: Deadline,
        *,
        external: bool = False,
        carried: Mapping[str, JSON] | None = None,
    ) -> None:
        """As in JobLedger."""
        values = {
            "key": key,
            "job_id": raw(job_id),
            "shown": self._redact(raw(job_id)),
            "external": external,
            "carried": sql.as_json(carried or {}),
        }
        await self._write(sql.TRIGGERED, values, deadline)

    async def ended(
        self,
        key: str,
        outcome: str,
        at: float,
        deadline: Deadline,
        *,
        processed: int | None = None,
        error: str | None = None,
    ) -> None:
        """As in JobLedger."""
        shown = None if error is None else self._redact(error).replace("\0", "")
        values = {"key": key, "outcome": outcome, "at": at, "processed": processed, "error": shown}
        await self._write(sql.ENDED, values, deadline)

    async def _write(self, statement: str, values: dict[str, Any], deadline: Deadline) -> None:
        async def work() -> None:
            await self._patiently(statement, values, Deadline.after(self._clock, PATIENCE, "the time for the ledger"))

        await self._behind.write(work(), deadline)

    async def open_entry(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        await self._behind.settle(deadline)  # an unwritten end would look like an open sync
        return await self._entry(sql.OPEN, deadline, target=target, name=name)

    async def last_success(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._entry(sql.SUCCESS, deadline, target=target, name=name)

    async def completed_under(self, target: str, name: str, run_key: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._entry(sql.COMPLETED_UNDER, deadline, target=target, name=name, run_key=run_key)

    async def newest(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._entry(sql.NEWEST, deadline, target=target, name=name)

    async def of_job(self, target: str, job_id: ExternalText | str, deadline: Deadline) -> Entry | None:
        """As in JobLedger."""
        return await self._entry(sql.OF_JOB, deadline, target=target, job_id=raw(job_id))

    async def recent(self, limit: int, deadline: Deadline) -> list[Entry]:
        """As in JobLedger."""
        found = await self._connections.rows(sql.RECENT, {"limit": limit}, deadline)
        entries = [await self._believed(row, deadline) for row in found]
        return [one for one in entries if one is not None]

    async def _entry(self, statement: str, deadline: Deadline, **values: Any) -> Entry | None:
        while (row := await self._patiently(statement, values, deadline)) is not None:
            entry = await self._believed(row, deadline)
            if entry is not None:
                return entry
        return None

    async def _believed(self, row: tuple[Any, ...], deadline: Deadline) -> Entry | None:
        """Returns the entry; None for a row that no runner wrote: the process that sets it aside logs a warning."""
        try:
            return Entry.of_row(row)
        except (ValueError, TypeError, RecursionError):
            pass
        named = f"{self._connections.name}: the row of sync_runner_syncs with key {show(str(row[0]), 60)} is not the runner's"
        if await self._patiently(sql.SET_ASIDE, {"key": row[0]}, deadline) is not None:
            self._warn(
                f"{named}; set aside: its sync is no longer known, and its job is found only where the API lists it"
            )
        return None

    async def _patiently(self, statement: str, values: dict[str, Any], deadline: Deadline) -> tuple[Any, ...] | None:
        """Returns the first row; a database that fails in mid-run is retried for a minute and reported once."""
        patience = Deadline.after(self._clock, PATIENCE, "the time for the ledger").min(deadline)
        warned, pause = False, 0.25
        while True:
            try:
                row = await self._connections.one(statement, values, patience)
                self._used = True
                return row
            except Unreachable as problem:
                if patience.expired or not self._used:
                    raise
                if not warned:
                    self._warn(f"{problem}; retrying")
                warned = True
            await self._clock.sleep(min(pause, patience.remaining))
            pause = min(pause * 2, 2.0)

    @asynccontextmanager
    async def alone(self, target: str, name: str, deadline: Deadline) -> AsyncIterator[Turn]:
        """As in JobLedger: a lease of seconds, renewed while it is held."""
        key = trigger_key(target, name)
        turn = LeasedTurn(self._clock, {"lock": key, "lock_holder": f"{self._holder}-{uuid4().hex[:8]}", "epoch": 0})
        await self._take(turn, name, deadline)
        self._turns[key] = turn
        renewing = asyncio.create_task(self._renew(turn))
        try:
            yield turn
        finally:
            renewing.cancel()
            if self._turns.get(key) is turn:
                del self._turns[key]
            with suppress(RunnerError):  # the lease expires by itself
                free = self._connections.one(sql.UNLOCK, turn.values, Deadline.after(self._clock, MARGIN, "the time"))
                await self._behind.write(_only(free), Deadline.after(self._clock, GRACE, "the time"))

    async def _take(self, turn: "LeasedTurn", name: str, deadline: Deadline) -> None:
        pause = 0.02
        while True:
            began = self._clock.monotonic()
            row = await self._patiently(sql.TAKE, {**turn.values, "lease": LEASE_SECONDS}, deadline)
            if row is not None:
                turn.values["epoch"] = row[0]
                turn.renewed(began)
                return
            if deadline.expired:
                what = f"another sync-runner held the trigger of `{name}`"
                raise DeadlineExceeded(f"{self._connections.name}: {what} until {deadline.what} ended")
            await self._clock.sleep(min(pause, deadline.remaining))
            pause = min(pause * 2, 0.5)

    async def _renew(self, turn: "LeasedTurn") -> None:
        """Renews until cancelled. While the database is down, the lock expires by itself."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            began = self._clock.monotonic()
            within = Deadline.after(self._clock, RENEW_SECONDS, "the lease")
            with suppress(RunnerError):
                row = await self._connections.one(sql.RENEW_LOCK, {**turn.values, "lease": LEASE_SECONDS}, within)
                if row is not None:
                    turn.renewed(began)


class LeasedTurn:
    """A lock that is certainly ours for a number of seconds."""

    def __init__(self, clock: Clock, values: dict[str, Any]) -> None:
        """`values` identify it in statements."""
        self.values = values
        self._clock = clock
        self._until = 0.0

    def renewed(self, began: float) -> None:
        """Records a renewal that was requested at `began`, on the monotonic clock."""
        self._until = began + LEASE_SECONDS - MARGIN

    @property
    def remaining(self) -> float:
        """As in Turn."""
        return max(0.0, self._until - self._clock.monotonic())


async def _only(work: Any) -> None:
    await work
