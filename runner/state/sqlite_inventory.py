"""The SQLite ledger for `sync-runner state`: all entries by pages, and triggers that block changes."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from runner.clock import Clock, Deadline
from runner.state.entry import COLUMNS, Entry
from runner.state.inventory import NAMES, Target
from runner.state.ledger import Ledger

T = TypeVar("T")
PAGE = 1000  # entries
_TARGETS = (
    "SELECT target, account, COUNT(*), SUM(outcome IS NULL), MAX(intended_at) FROM syncs GROUP BY target, account"
)
_ACTIVE = "SELECT 1 FROM syncs WHERE outcome IS NULL AND holder <> '' AND lease_until > ? LIMIT 1"
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in NAMES if name != "key")
_PUT = (
    f"INSERT INTO syncs ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))}) "
    f"ON CONFLICT (key) DO UPDATE SET {_CHANGED} WHERE syncs.outcome IS NULL"
)


_MOVED = (
    "this state was moved to another place by `sync-runner state move`; set the state to that place, or move it back"
)
_FENCE = [
    (f"CREATE TRIGGER IF NOT EXISTS moved_{act} BEFORE {act} ON syncs BEGIN SELECT RAISE(ABORT, '{_MOVED}'); END", ())
    for act in ("insert", "update")
]


class Do(Protocol):
    """Calls `act` with the open ledger, on its thread."""

    async def __call__(self, act: Callable[[Ledger], T], deadline: Deadline) -> T:
        """Returns or raises what `act` does."""
        ...


class SqliteInventory:
    """As LedgerInventory."""

    def __init__(self, do: Do, clock: Clock) -> None:
        """Uses the ledger that `do` passes."""
        self._do, self._clock = do, clock

    async def targets(self, deadline: Deadline) -> list[Target]:
        """As in LedgerInventory."""
        rows = await self._do(lambda ledger: ledger.transaction([(_TARGETS, ())]), deadline)
        return [Target(*row) for row in rows]

    async def page(self, after: str, deadline: Deadline, *, unfinished: bool = False) -> list[Entry]:
        """As in LedgerInventory."""
        where = f"key > ? {'AND outcome IS NULL ' if unfinished else ''}ORDER BY key LIMIT ?"
        return await self._do(lambda ledger: ledger.select(where, (after, PAGE)), deadline)

    async def put(self, entries: Sequence[Entry], deadline: Deadline) -> None:
        """As in LedgerInventory."""
        statements = [(_PUT, entry.as_row()) for entry in entries]
        await self._do(lambda ledger: ledger.transaction(statements), deadline)

    async def fence(self, deadline: Deadline) -> bool:
        """As in LedgerInventory."""
        return await self._do(self._fenced, deadline)

    def _fenced(self, ledger: Ledger) -> bool:
        active = ledger.transaction([(_ACTIVE, (self._clock.time(),))], then=lambda rows: [] if rows else _FENCE)
        return not active

    async def unfence(self, deadline: Deadline) -> None:
        """As in LedgerInventory."""
        statements = [(f"DROP TRIGGER IF EXISTS moved_{act}", ()) for act in ("insert", "update")]
        await self._do(lambda ledger: ledger.transaction(statements), deadline)

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """As in LedgerInventory."""
        return await self._do(lambda ledger: ledger.prune(self._clock.time() - keep), deadline)
