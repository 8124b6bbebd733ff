"""Connections to PostgreSQL: a bounded number, one kept idle, with the tables created on first use.

Nothing here depends on a database session: no prepared statements, no SET, no advisory lock beyond a transaction, so
that PgBouncer may use another server connection for each transaction.
"""

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.clock import GRACE, LEAST, Clock, Deadline
from runner.errors import StateError, StateMoved, Unreachable, UsageError
from runner.external import MAX_WORDS, show
from runner.state.postgresql_statements import FENCE, TABLES, WATCHED_UNTIL

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Error

CONNECT_SECONDS = 9.0  # a server with hundreds of clients at once takes seconds; a shorter limit wastes its work
STATEMENT_SECONDS = 10.0
TRIES = 5
FULL_SECONDS = 60.0  # for which a server without a free connection slot is retried
_NO_ROOM = ("too many clients", "connection slots are reserved", "too many connections", "no more connections allowed")
SCHEMA = 3
READABLE_BY = 1  # the oldest version of this module that can work with the tables as SCHEMA has them
_LOCK = 0x53796E63  # of the migration, for its transaction

_MIGRATIONS = (  # from the version of that number to the next; columns and tables are added, never removed
    """
    CREATE TABLE sync_runner_accounts (
        key TEXT PRIMARY KEY,
        state BYTEA,
        holder TEXT,
        epoch BIGINT NOT NULL,
        lease_until TIMESTAMPTZ,
        used_at TIMESTAMPTZ NOT NULL
    )
    """,
    TABLES,
    WATCHED_UNTIL,
)
# SQLSTATE classes that a person must correct: authorization, catalog name, syntax or access, object not in that state.
_CONFIGURATION = ("28", "3D", "3F", "42", "25006")
_REFUSED = ("authentication failed", "no pg_hba.conf entry", "does not exist", "not permitted", "no password supplied")


class _Full(Unreachable):
    """The server accepts no more connections now: other processes of this fleet use them and will release them."""


class Connections:
    """A small pool."""

    def __init__(self, url: str, password: str | None, most: int, clock: Clock) -> None:
        """`url` in libpq's form, without a password, as the settings have it. Raises UsageError."""
        try:
            import psycopg  # noqa: F401 - asked now, so that the message comes before anything is sent
        except ImportError:
            raise UsageError(
                "state.url: PostgreSQL needs one more package: pip install 'sync-runner[postgresql]'"
            ) from None
        parts = urlsplit(url)
        self.name = f"database {parts.hostname or ''}{parts.path}"
        library = logging.getLogger("psycopg")  # its warnings are raised here as errors and reported once
        library.propagate = False
        library.addHandler(logging.NullHandler())
        self._url, self._password, self._clock = url, password, clock
        self._free = asyncio.Semaphore(most)
        self._idle: list[AsyncConnection[Any]] = []
        self._ready = self._closed = False
        self._answers = True

    async def one(self, statement: str, values: dict[str, Any], deadline: Deadline) -> tuple[Any, ...] | None:
        """Returns the first row of the statement. Raises what `rows` raises."""
        found = await self.rows(statement, values, deadline)
        return found[0] if found else None

    async def rows(self, statement: str, values: dict[str, Any], deadline: Deadline) -> list[tuple[Any, ...]]:
        """Returns the rows of the statement; resends it where its connection was lost.

        Raises StateError for what a person must correct, Unreachable for a database that is down.
        """
        pause, tries, most = 0.05, 0, 1.0
        full = Deadline.after(self._clock, FULL_SECONDS, "the patience").min(deadline)
        while True:
            try:
                return await self._once(statement, values, deadline)
            except _Full:
                if full.expired:
                    raise
                most = 5.0
            except Unreachable:
                tries += 1
                if tries >= TRIES or deadline.expired:
                    raise
            await self._clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, most)

    async def _once(self, statement: str, values: dict[str, Any], deadline: Deadline) -> list[tuple[Any, ...]]:
        import psycopg

        seconds = min(STATEMENT_SECONDS, max(deadline.remaining_with_grace, GRACE if self._answers else LEAST))
        # Not awaited when it is too late: psycopg then asks the server to cancel it, for up to 10 s (decision 0202).
        executed = asyncio.ensure_future(self._executed(statement, values))
        try:
            async with asyncio.timeout(seconds):
                rows = await asyncio.shield(executed)
            self._answers = True
        except TimeoutError:
            self._answers = False
            raise Unreachable(f"{self.name}: PostgreSQL does not respond within {seconds:.1f} s", sent=False) from None
        except psycopg.Error as error:
            raise self._problem(error) from None
        finally:
            executed.cancel()
            executed.add_done_callback(_retrieved)
        return rows

    async def _executed(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._free:
            connection = await self._connection()
            kept = False
            try:
                found = await connection.execute(statement, values)
                rows: list[tuple[Any, ...]] = await found.fetchall() if found.description else []
                kept = True
            finally:
                await self._give_back(connection, keep=kept)
            return rows

    async def _connection(self) -> "AsyncConnection[Any]":
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        import psycopg

        more: dict[str, Any] = {} if self._password is None else {"password": self._password}
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=None, connect_timeout=int(CONNECT_SECONDS),
            application_name="sync-runner", **more,
        )  # fmt: skip
        try:
            if not self._ready:
                await self._migrate(connection)
                self._ready = True
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _give_back(self, connection: "AsyncConnection[Any]", *, keep: bool) -> None:
        if keep and not self._idle and not self._closed:
            self._idle.append(connection)
        else:
            with suppress(Exception):
                await connection.close()

    async def _migrate(self, connection: "AsyncConnection[Any]") -> None:
        found = await connection.execute("SELECT to_regclass('sync_runner_schema') IS NOT NULL")
        row = await found.fetchone()
        known = await self._version(connection) if row and row[0] else 0
        if known >= SCHEMA:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS sync_runner_schema (version INT NOT NULL, readable_by INT NOT NULL)"
            )
            for change in _MIGRATIONS[await self._version(connection) :]:
                await connection.execute(change)
            await connection.execute("DELETE FROM sync_runner_schema")
            await connection.execute("INSERT INTO sync_runner_schema VALUES (%s, %s)", (SCHEMA, READABLE_BY))

    async def _version(self, connection: "AsyncConnection[Any]") -> int:
        """Returns the tables' version, 0 where there are none. Raises StateError where only a newer version can use them."""
        found = await connection.execute("SELECT version, readable_by FROM sync_runner_schema")
        row = await found.fetchone()
        if row is None:
            return 0
        version, readable_by = row
        if readable_by > SCHEMA:
            raise StateError(
                f"{self.name}: a newer sync-runner created the tables (version {version}, readable by {readable_by}; this one "
                f"is {SCHEMA}); use that version"
            )
        return min(int(version), SCHEMA)

    def _problem(self, error: "Error") -> Exception:
        text = " ".join(str(error).split())
        state = error.sqlstate or ""
        if state == "23514" and error.diag.constraint_name == FENCE:
            return StateMoved(
                f"{self.name}: this state was moved to another place by `sync-runner state move`; set the state to that "
                "place, or move it back"
            )
        if state.startswith(_CONFIGURATION) or (not state and any(words in text for words in _REFUSED)):
            return StateError(
                f"{self.name}: PostgreSQL refuses ({show(text, MAX_WORDS)}); check state.url and the secret `state_password`"
            )
        full = state == "53300" or any(words in text for words in _NO_ROOM)
        kind = _Full if full or "timeout expired" in text else Unreachable  # a server with many logins is slow at each
        return kind(f"{self.name}: PostgreSQL cannot be used ({show(text, MAX_WORDS)})", sent=False)

    async def close(self) -> None:
        """Closes the idle connection; those in use are closed after their statement."""
        self._closed = True
        while self._idle:
            with suppress(Exception):
                await self._idle.pop().close()


def _retrieved(executed: "asyncio.Future[Any]") -> None:
    """Takes the error of a statement that nobody waits for, so that asyncio does not report it."""
    if not executed.cancelled():
        executed.exception()
