"""What the runner remembers of syncs between runs: intents, jobs, outcomes. SQLite in the state directory, or in memory.

The intent stands before the trigger leaves and the job after its answer, so that a killed run's job is found again.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from runner.errors import UsageError
from runner.frozen import Frozen

SCHEMA = 1
BUSY = 10.0  # seconds to wait for another process's write before giving up

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
    error TEXT
);
CREATE INDEX IF NOT EXISTS syncs_by_target ON syncs (target, name, intended_at);
"""


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


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time: SQLite's own waiting does not cover the switch to a write-ahead log."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Ledger:
    """The remembered syncs; safe for several processes (write-ahead log, short transactions)."""

    def __init__(self, directory: Path | None, clean: Callable[[str], str] = str) -> None:
        """Open `ledger.sqlite3` in `directory`, or a ledger in memory for None. Raises UsageError when it can not be.

        `clean` takes secrets out of errors, which may be the API's own words, before they are kept.
        """
        self._clean = clean
        self._path = ":memory:" if directory is None else str(directory / "ledger.sqlite3")
        try:
            if directory is None:
                self._open()
                return
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(directory / "ledger.lock"):
                self._open()
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"{self._path}: the ledger can not be opened ({error}); check state.dir, or move the file away"
            ) from None

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        if self._path != ":memory:":
            Path(self._path).chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise UsageError(
                f"{self._path}: written by a newer sync-runner (schema {version}); use that one, or another state.dir"
            )
        if version < SCHEMA:
            self._db.executescript(_TABLE)
            self._db.execute(f"PRAGMA user_version={SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def intend(self, entry: Entry) -> None:
        """Remember, before the trigger leaves, that it is about to. Raises UsageError, as all that writes does."""
        self._write(
            "INSERT OR REPLACE INTO syncs (key, target, account, name, sync_type, run_id, intended_at) VALUES (?,?,?,?,?,?,?)",
            (entry.key, entry.target, entry.account, entry.name, entry.sync_type, entry.run_id, entry.intended_at),
        )

    def triggered(self, key: str, job_id: str) -> None:
        """Remember the job that the API gave."""
        self._write("UPDATE syncs SET job_id=? WHERE key=?", (job_id, key))

    def ended(
        self, key: str, outcome: str, at: float, *, processed: int | None = None, error: str | None = None
    ) -> None:
        """Remember how it ended, at Unix time `at`."""
        self._write(
            "UPDATE syncs SET outcome=?, ended_at=?, processed_items=?, error=? WHERE key=?",
            (outcome, at, processed, None if error is None else self._clean(error), key),
        )

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise UsageError(
                f"{self._path}: can not be written ({error}); check space and rights of state.dir"
            ) from None

    def open_entry(self, target: str, name: str) -> Entry | None:
        """The newest sync of that name that has no end: a killed run's, or another process's."""
        return self._one("target=? AND name=? AND outcome IS NULL ORDER BY intended_at DESC", (target, name))

    def last_success(self, target: str, name: str) -> Entry | None:
        """The newest completed sync of that name."""
        return self._one("target=? AND name=? AND outcome='completed' ORDER BY intended_at DESC", (target, name))

    def recent(self, limit: int) -> list[Entry]:
        """The newest syncs of all accounts, newest first."""
        return self._many("1=1 ORDER BY intended_at DESC LIMIT ?", (limit,))

    def _one(self, where: str, values: tuple[object, ...]) -> Entry | None:
        found = self._many(f"{where} LIMIT 1", values)
        return found[0] if found else None

    def _many(self, where: str, values: tuple[object, ...]) -> list[Entry]:
        with closing(self._db.execute(f"SELECT * FROM syncs WHERE {where}", values)) as rows:
            return [Entry(*row) for row in rows]
