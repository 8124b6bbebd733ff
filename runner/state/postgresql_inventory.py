"""The PostgreSQL ledger for `sync-runner state`: all entries by pages, and a constraint that blocks changes."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runner.clock import Deadline
from runner.state import postgresql_statements as sql
from runner.state.entry import Entry
from runner.state.inventory import Target, as_document
from runner.state.postgresql_connections import Connections

Prune = Callable[[float, Deadline], Awaitable[tuple[int, int]]]
Believed = Callable[[tuple[Any, ...], Deadline], Awaitable[Entry | None]]


class PostgresqlInventory:
    """As LedgerInventory."""

    def __init__(self, connections: Connections, prune: Prune, believed: Believed) -> None:
        """`prune` deletes old syncs and accounts; `believed` parses a row, or sets it aside."""
        self._connections, self._prune, self._believed = connections, prune, believed

    async def targets(self, deadline: Deadline) -> list[Target]:
        """As in LedgerInventory."""
        return [Target(*row) for row in await self._connections.rows(sql.TARGETS, {}, deadline)]

    async def page(self, after: str, deadline: Deadline, *, unfinished: bool = False) -> list[Entry]:
        """As in LedgerInventory."""
        rows = await self._connections.rows(sql.PAGE, {"after": after, "unfinished": unfinished}, deadline)
        entries = [await self._believed(row, deadline) for row in rows]
        found = [one for one in entries if one is not None]
        return found if found or not rows else await self.page(str(rows[-1][0]), deadline, unfinished=unfinished)

    async def put(self, entries: Sequence[Entry], deadline: Deadline) -> None:
        """As in LedgerInventory."""
        rows = json.dumps([as_document(entry) for entry in entries])
        await self._connections.one(sql.PUT, {"rows": rows}, deadline)

    async def fence(self, deadline: Deadline) -> bool:
        """As in LedgerInventory."""
        await self._connections.one(sql.RAISE_FENCE, {}, deadline)
        row = await self._connections.one(sql.IS_FENCED, {}, deadline)
        return row is not None and bool(row[0])

    async def unfence(self, deadline: Deadline) -> None:
        """As in LedgerInventory."""
        await self._connections.one(sql.DROP_FENCE, {}, deadline)

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """As in LedgerInventory."""
        return (await self._prune(keep, deadline))[0]
