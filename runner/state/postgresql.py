"""State in PostgreSQL, shared by any number of processes on any number of hosts. Needs the extra `postgresql` (psycopg 3).

Every operation is one short statement or transaction, so that it works behind a PgBouncer in transaction mode. An
account's lock is a lease with an epoch, by the database's clock: a killed holder's lease expires within seconds, and a
disconnected holder cannot save, because each save names its epoch. What must not happen twice is saved before it
happens.
"""
# Decisions 0066, 0133.

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, RunnerError, SecretError, StateError
from runner.state.interface import FINISH_SECONDS, AccountOptions, LoadedState
from runner.state.postgresql_connections import Connections
from runner.state.postgresql_ledger import PostgresqlLedger
from runner.state.postgresql_statements import COUNT_ACCOUNTS, OF_ACCOUNT, PRUNE_ACCOUNTS
from runner.state.record import AccountState

if TYPE_CHECKING:
    from runner.state.opening import StateOptions

LEASE_SECONDS = 10.0  # of an account's lock; renewed while it is held, so that a killed holder's expires soon
RENEW_SECONDS = 3.0

_TAKE = """
INSERT INTO sync_runner_accounts AS a (key, holder, epoch, lease_until, used_at)
VALUES (%(key)s, %(holder)s, 1, clock_timestamp() + %(lease)s * interval '1 second', clock_timestamp())
ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, epoch = a.epoch + 1, lease_until = excluded.lease_until,
    used_at = excluded.used_at
WHERE a.holder IS NULL OR a.holder = excluded.holder OR a.lease_until < clock_timestamp()
RETURNING state, epoch"""
_MINE = "WHERE key = %(key)s AND holder = %(holder)s AND epoch = %(epoch)s AND lease_until > clock_timestamp()"
_SAVE = f"UPDATE sync_runner_accounts SET state = %(state)s {_MINE} RETURNING epoch"
_RENEW = f"""
UPDATE sync_runner_accounts SET lease_until = clock_timestamp() + %(lease)s * interval '1 second' {_MINE} RETURNING epoch"""
_FREE = "UPDATE sync_runner_accounts SET holder = NULL, lease_until = NULL"
_UNLOCK = f"{_FREE} WHERE key = %(key)s AND holder = %(holder)s AND epoch = %(epoch)s RETURNING epoch"
_SAVE_AND_UNLOCK = f"{_FREE}, state = %(state)s {_MINE} RETURNING epoch"
_KEYS = f"SELECT key FROM sync_runner_accounts WHERE state IS NOT NULL AND {OF_ACCOUNT} ORDER BY key"
_PRUNE = f"WITH accounts AS ({PRUNE_ACCOUNTS}) {COUNT_ACCOUNTS}"
_READ = "SELECT state, epoch FROM sync_runner_accounts WHERE key = %(key)s"


class PostgresqlState:
    """The database."""

    def __init__(self, url: str, password: str | None, most: int, clock: Clock) -> None:
        """At most `most` connections. Opens nothing yet. Raises UsageError for an invalid address."""
        self.connections = Connections(url, password, most, clock)
        self.clock = clock
        self.name = self.connections.name

    def account(self, key: str, options: AccountOptions) -> "PostgresqlStore":
        """Returns the account's store."""
        return PostgresqlStore(self, key, options)

    def ledger(self, options: "StateOptions") -> PostgresqlLedger:
        """Returns the ledger in the same database."""
        return PostgresqlLedger(
            self.connections, self.clock, redact=options.redact, warn=options.warn, keep=options.settings.keep
        )

    async def keys(self, deadline: Deadline) -> list[str]:
        """As in StateInventory."""
        return [row[0] for row in await self.connections.rows(_KEYS, {}, deadline)]

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """As in StateInventory."""
        row = await self.connections.one(_PRUNE, {"keep": keep}, deadline)
        return int(row[0]) if row else 0

    async def close(self) -> None:
        """Closes the connections."""
        await self.connections.close()


class PostgresqlStore:
    """One account's row."""

    def __init__(self, place: PostgresqlState, key: str, options: AccountOptions) -> None:
        """`place` is the database, `key` the account's name in it."""
        self._place = place
        self._codec, self._warn = options.codec, options.warn
        self._values: dict[str, Any] = {
            "key": key, "holder": f"{socket.gethostname()}-{uuid4().hex}", "epoch": 0, "lease": LEASE_SECONDS,
        }  # fmt: skip

    async def read(self, deadline: Deadline) -> AccountState:
        """Reads the stored state."""
        row = await self._one(_READ, deadline)
        return self._state(row[0] if row else None).believable(self._place.clock.time())

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:
        """Holds the account across hosts, with a lease that is renewed."""

        async def finish(state: AccountState | None) -> None:
            within = Deadline.after(self._place.clock, FINISH_SECONDS, "the time to save").min(deadline)
            if state is not None:
                await self._save(_SAVE_AND_UNLOCK, state, within)
                return
            with suppress(RunnerError):  # the lease expires by itself
                await self._one(_UNLOCK, within)

        raw = await self._locked(deadline)
        renewing = asyncio.create_task(self._renew())
        try:
            try:
                held = LoadedState(self._state(raw), self._place.clock.time(), self._saver(deadline))
            except BaseException:
                await finish(None)
                raise
            async with held.finished_by(finish, self._warn):
                yield held
        finally:
            renewing.cancel()

    async def _locked(self, deadline: Deadline) -> bytes | None:
        """Returns the stored state, once the lease is ours. Raises DeadlineExceeded when another process holds it too long."""
        pause = 0.02
        while (row := await self._one(_TAKE, deadline)) is None:
            if deadline.expired:
                raise DeadlineExceeded(
                    f"{self._place.name}: another sync-runner held the login lock until {deadline.what} ended"
                )
            await self._place.clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, 0.5)
        self._values["epoch"] = row[1]
        return None if row[0] is None else bytes(row[0])

    async def _renew(self) -> None:
        """Renews until cancelled. A failure shows at the next save, which checks the lease."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            within = Deadline.after(self._place.clock, LEASE_SECONDS, "the lease")
            with suppress(RunnerError):
                await self._one(_RENEW, within)

    def _saver(self, deadline: Deadline) -> Callable[[AccountState], Awaitable[None]]:
        return lambda state: self._save(_SAVE, state, deadline)

    async def _save(self, statement: str, state: AccountState, deadline: Deadline) -> None:
        """Raises StateError where the lease was lost: another process may be logging in."""
        encoded = self._codec.encode(state)
        if await self._one(statement, deadline, state=encoded) is not None:
            return
        row = await self._one(_READ, deadline)  # the save may have succeeded although its response was lost
        if row is None or row[1] != self._values["epoch"] or bytes(row[0] or b"") != encoded:
            raise StateError(f"{self._place.name}: another process took over the login lock; nothing was sent")

    async def _one(self, statement: str, deadline: Deadline, **more: Any) -> tuple[Any, ...] | None:
        return await self._place.connections.one(statement, {**self._values, **more}, deadline)

    def _state(self, raw: bytes | None) -> AccountState:
        if not raw:
            return AccountState()
        try:
            return self._codec.decode(bytes(raw))
        except (SecretError, StateError) as error:
            raise type(error)(f"{self._place.name}: account {self._values['key']}: {error}") from None
        except ValueError:
            self._warn(
                f"{self._place.name}: account {self._values['key']} is unreadable and counts as empty; a new login "
                "follows"
            )
            return AccountState(assume_used_until=self._place.clock.time())
