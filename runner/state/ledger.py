"""What the runner remembers of syncs between runs: intents, jobs, outcomes. SQLite in the state directory, or in memory.

The intent stands before the trigger leaves and the job after its answer, so that a killed run's job is found again.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, UsageError
from runner.frozen import Frozen
from runner.limiter import FairLimiter
from runner.state.file_lock import held, open_lock, try_lock
from runner.state.private_directory import PrivateDirectory

T = TypeVar("T")
SCHEMA = 4
LEDGER_FILE = "ledger.sqlite3"
BEGINNING = 100  # syncs between intent and job at once: each has two lock files open, its own and its account's
BUSY = 3.0  # seconds to wait for another process's write before giving up; healthy ones take milliseconds

_TABLE = """
CREATE TABLE IF NOT EXISTS syncs (
    key TEXT PRIMARY KEY,           -- the idempotency key
    target TEXT NOT NULL,           -- base URL and user the job belongs to
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    sync_type TEXT NOT NULL,
    run_id TEXT NOT NULL,
    intended_at REAL NOT NULL,      -- Unix seconds
    job_id TEXT,
    outcome TEXT,                   -- NULL while open
    ended_at REAL,
    processed_items INTEGER,
    error TEXT,
    foreign_job INTEGER NOT NULL DEFAULT 0,  -- 1: another's job that was watched; its dates are not ours
    carried TEXT NOT NULL DEFAULT '{}',  -- JSON: what the trigger's answer gave for later requests
    run_key TEXT,                   -- the setting run.key of the run that triggered it
    holder TEXT NOT NULL DEFAULT '',  -- the process that polls the job
    lease_until REAL NOT NULL DEFAULT 0  -- Unix seconds: until then the holder counts as alive
);
CREATE INDEX IF NOT EXISTS syncs_by_target ON syncs (target, name, intended_at);
"""
_CHANGES = {  # from the schema of that number to the next
    1: "ALTER TABLE syncs ADD COLUMN foreign_job INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE syncs ADD COLUMN carried TEXT NOT NULL DEFAULT '{}'",
    3: "ALTER TABLE syncs ADD COLUMN run_key TEXT; ALTER TABLE syncs ADD COLUMN holder TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE syncs ADD COLUMN lease_until REAL NOT NULL DEFAULT 0",
}
# What is written, and what is looked for.
_INTEND = (
    "INSERT OR REPLACE INTO syncs (key, target, account, name, sync_type, run_id, intended_at, run_key, holder, lease_until)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_LEASE = "UPDATE syncs SET holder=?, lease_until=? WHERE key=? AND (holder=? OR lease_until<=?)"
_TRIGGERED = "UPDATE syncs SET job_id=?, foreign_job=?, carried=? WHERE key=?"
_ENDED = "UPDATE syncs SET outcome=?, ended_at=?, processed_items=?, error=? WHERE key=?"
_OPEN = "target=? AND name=? AND outcome IS NULL ORDER BY intended_at DESC LIMIT 1"
_SUCCESS = "target=? AND name=? AND outcome='completed' AND NOT foreign_job ORDER BY intended_at DESC LIMIT 1"
_COMPLETED_UNDER = "target=? AND name=? AND run_key=? AND outcome='completed' ORDER BY intended_at DESC LIMIT 1"
_NEWEST = "target=? AND name=? ORDER BY intended_at DESC LIMIT 1"
_OF_JOB = "target=? AND job_id=? ORDER BY intended_at DESC LIMIT 1"
_RECENT = "1=1 ORDER BY intended_at DESC LIMIT ?"


FAR_FUTURE = 1e11  # Unix seconds, the year 5138: no clock of ours wrote a later time


class Entry(Frozen):
    """One triggered sync as remembered. Times are Unix seconds; `outcome` is None while it is open."""

    key: str
    target: str
    account: str
    name: str
    sync_type: str
    run_id: str
    intended_at: float
    job_id: str | None = None
    outcome: str | None = None
    ended_at: float | None = None
    processed_items: int | None = None
    error: str | None = None
    external: bool = False
    carried: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None
    holder: str = ""
    lease_until: float = 0.0


def _entry(row: tuple[Any, ...]) -> Entry:
    """The entry in a row. Raises ValueError or TypeError where another program, or a fault of the disk, wrote it."""
    entry = Entry(*(*row[:12], bool(row[12]), json.loads(row[13]), *row[14:]))
    texts = (entry.job_id or "", entry.outcome or "", entry.error or "", entry.run_key or "", *row[:6], entry.holder)
    times = (entry.intended_at, entry.ended_at or 0.0, entry.lease_until)
    if not all(isinstance(one, str) for one in texts) or not isinstance(entry.carried, dict):
        raise TypeError
    if not all(0 <= one < FAR_FUTURE for one in times) or not isinstance(entry.processed_items or 0, int):
        raise ValueError
    return entry


def _prepared(directory: Path) -> Path:
    """The directory, once nothing in it can lead SQLite, which follows links, to another's file. Raises StateError.

    SQLite makes its other files with the mode of the ledger, which is made here with 0600.
    """
    private = PrivateDirectory.open(directory)
    try:
        private.make_private(LEDGER_FILE)
        for beside in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.close(private.open_file(LEDGER_FILE + beside, os.O_RDONLY))
        return directory
    finally:
        private.close()


class LedgerBusy(UsageError):
    """Another process is just writing: worth another try."""


@contextmanager
def _alone(lock: Path, patience: float) -> Iterator[None]:
    """One process at a time: SQLite's own waiting does not cover the switch to a write-ahead log."""
    descriptor = open_lock(lock)
    try:
        give_up = time.monotonic() + patience
        while not try_lock(descriptor):
            if time.monotonic() >= give_up:
                raise LedgerBusy(f"{lock}: another process holds the ledger; end it, or use another state.dir")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


class Ledger:
    """The remembered syncs; safe for several processes (write-ahead log, short transactions)."""

    def __init__(self, directory: Path | None, redact: Callable[[str], str] = str, patience: float = BUSY) -> None:
        """Open `ledger.sqlite3` in `directory`, or a ledger in memory for None. Raises UsageError when it cannot be.

        `clean` takes secrets out of errors, which may be the API's own words, before they are kept. `patience` is how
        many seconds to wait for other processes that open it; LedgerBusy tells that it was over.
        """
        self._redact = redact
        self._limiter = FairLimiter(BEGINNING)
        self._directory = directory
        self._path = ":memory:" if directory is None else str(directory / LEDGER_FILE)
        try:
            if directory is None:
                self._open(patience)
                return
            with _alone(_prepared(directory) / "ledger.lock", patience):
                self._open(patience)
        except (OSError, sqlite3.Error) as error:
            raise _error(error)(
                f"{self._path}: the ledger cannot be opened ({error}); check state.dir, or move the file away"
            ) from None

    def _open(self, patience: float) -> None:
        # One task at a time uses it; it is opened on a thread, because a file system may hang.
        self._db = sqlite3.connect(self._path, timeout=patience, isolation_level=None, check_same_thread=False)
        if self._path != ":memory:":
            self._db.execute("PRAGMA journal_mode=WAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise UsageError(
                f"{self._path}: written by a newer sync-runner (schema {version}); use that one, or another state.dir"
            )
        if version < SCHEMA:
            changes = [_CHANGES[old] for old in range(version, SCHEMA)] if version else [_TABLE]
            self._db.executescript(";".join(changes))
            self._db.execute(f"PRAGMA user_version={SCHEMA}")
        self._db.execute("PRAGMA busy_timeout=0")  # from here on others are waited for by `patiently`, signals obeyed

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def intend(self, entry: Entry) -> None:
        """Remember, before the trigger leaves, that it is about to. Raises UsageError, as all that writes does."""
        self._write(
            _INTEND,
            (
                entry.key, entry.target, entry.account, entry.name, entry.sync_type, entry.run_id, entry.intended_at,
                entry.run_key, entry.holder, entry.lease_until,
            ),
            on_disk=True,
        )  # fmt: skip

    def lease(self, key: str, holder: str, *, now: float, until: float) -> bool:
        """Take or renew the lease of an entry until Unix time `until`; false where another holder's has not run out."""
        return self._write(_LEASE, (holder, until, key, holder, now)) == 1

    def triggered(
        self, key: str, job_id: str, *, external: bool = False, carried: Mapping[str, str] | None = None
    ) -> None:
        """Remember the job that the API gave, and what it `carried`; `foreign`: another's, adopted because it runs."""
        self._write(
            _TRIGGERED,
            (self._redact(job_id), external, json.dumps(dict(carried or {})), key),
        )

    def ended(
        self, key: str, outcome: str, at: float, *, processed: int | None = None, error: str | None = None
    ) -> None:
        """Remember how it ended, at Unix time `at`."""
        self._write(
            _ENDED,
            (outcome, at, processed, None if error is None else self._redact(error), key),
        )

    def _write(self, statement: str, values: tuple[object, ...], *, on_disk: bool = False) -> int:
        """The number of rows written. What is `on_disk` outlives a power failure, the rest a killed process."""
        try:
            self._db.execute(f"PRAGMA synchronous={'FULL' if on_disk else 'NORMAL'}")
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise _error(error)(
                f"{self._path}: cannot be written ({error}); check space and rights of state.dir"
            ) from None

    def open_entry(self, target: str, name: str) -> Entry | None:
        """The newest sync of that name that has no end: a killed run's, or another process's."""
        return self._one(_OPEN, (target, name))

    def last_success(self, target: str, name: str) -> Entry | None:
        """The newest completed sync of that name; not by another's job, which may have covered other days."""
        return self._one(_SUCCESS, (target, name))

    def completed_under(self, target: str, name: str, run_key: str) -> Entry | None:
        """The completed sync of that name which an earlier try of the same run (setting `run.key`) left behind."""
        return self._one(_COMPLETED_UNDER, (target, name, run_key))

    def newest(self, target: str, name: str) -> Entry | None:
        """The newest sync of that name, whatever became of it."""
        return self._one(_NEWEST, (target, name))

    def of_job(self, target: str, job_id: str) -> Entry | None:
        """The sync whose job that is."""
        return self._one(_OF_JOB, (target, job_id))

    def recent(self, limit: int) -> list[Entry]:
        """The newest syncs of all accounts, newest first."""
        return self._many(_RECENT, (limit,))

    def _one(self, where: str, values: tuple[object, ...]) -> Entry | None:
        found = self._many(where, values)
        return found[0] if found else None

    def _many(self, where: str, values: tuple[object, ...]) -> list[Entry]:
        try:
            with closing(self._db.execute(f"SELECT * FROM syncs WHERE {where}", values)) as rows:
                return [_entry(row) for row in rows]
        except (ValueError, TypeError, RecursionError):
            raise UsageError(f"{self._path}: holds an entry that is none of ours; move the file away") from None
        except sqlite3.Error as error:
            raise _error(error)(f"{self._path}: cannot be read ({error}); move the file away") from None

    @asynccontextmanager
    async def alone(self, target: str, name: str, clock: Clock, deadline: Deadline) -> AsyncIterator[None]:
        """Hold the sync against other processes, from the look into the ledger until the job stands in it.

        Raises DeadlineExceeded, or UsageError where the directory cannot be written.
        """
        if self._directory is None:
            yield
            return
        digest = hashlib.sha256(f"{target}\n{name}".encode()).hexdigest()[:32]
        path = self._directory / f"trigger-{digest}.lock"
        async with self._limiter.taken(deadline, "trigger: no turn came"), AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(held(path, f"the trigger of `{name}`", clock, deadline))
            except OSError as error:
                raise UsageError(f"{path}: cannot be opened ({error.strerror}); check state.dir") from None
            yield


def _error(error: Exception) -> type[UsageError]:
    """What to raise for it: SQLite says whether it is only that another process is at it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return LedgerBusy if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else UsageError


async def retry_while_busy(act: Callable[[], T], clock: Clock, deadline: Deadline) -> T:
    """What `act` gives, tried again while another process is writing: for `BUSY` seconds, within the deadline.

    Raises what `act` raises, LedgerBusy when the patience is over, DeadlineExceeded when the deadline is.
    """
    give_up = Deadline.after(clock, BUSY, "the patience").min(deadline)
    while True:
        try:
            return act()
        except LedgerBusy as busy:
            if deadline.expired:
                raise DeadlineExceeded(f"{busy}; {deadline.what} is over") from None
            if give_up.expired:
                raise
        await clock.sleep(min(0.02, give_up.remaining))
