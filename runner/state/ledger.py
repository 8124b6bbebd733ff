"""The ledger's file: SQLite in the state directory, or in memory.

The intent is written before the trigger is sent and the job after its response, so that a killed run's job is found
again. All functions here block; a run uses them through `sqlite_ledger.py`.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from runner.errors import StateMoved, UsageError
from runner.external import ExternalText, raw
from runner.models import JSON
from runner.state import sqlite_statements as sql
from runner.state.entry import COLUMNS, KEPT_EACH
from runner.state.entry import Entry as Entry  # tests and tools import it from here
from runner.state.file_lock import open_lock, try_lock
from runner.state.file_system import needs_rollback_journal
from runner.state.private_directory import PrivateDirectory

Statements = Sequence[tuple[str, tuple[object, ...]]]
SCHEMA = 6
READABLE_BY = 5  # the oldest schema whose programs can use the file: unchanged when columns are added
LEDGER_FILE = "ledger.sqlite3"
BUSY = 3.0  # seconds to wait for another process's write before giving up; healthy ones take milliseconds
_FAULTS = (sqlite3.Error, UnicodeDecodeError)  # SQLite's messages quote the file's names, in whatever bytes


def _prepared(directory: Path) -> Path:
    """Returns the directory after checking that no link in it leads SQLite to another user's file. Raises StateError.

    SQLite creates its other files with the mode of the ledger, which is created here with 0600.
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
    """Another process is writing: a retry may succeed."""


class LedgerCorrupt(UsageError):
    """The file is not a ledger, or has foreign content: it is set aside."""

    def __init__(self, message: str, identity: tuple[int, int] | None = None) -> None:
        """`identity` as returned by `identity_of`."""
        super().__init__(message)
        self.identity = identity


@contextmanager
def opened_alone(lock: Path, patience: float) -> Iterator[None]:
    """Allows one process at a time: SQLite's own waiting does not cover the switch to a write-ahead log."""
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
    """The stored syncs; safe for several processes (write-ahead log, short transactions)."""

    def __init__(self, directory: Path | None, redact: Callable[[str], str] = str, patience: float = BUSY) -> None:
        """Opens `ledger.sqlite3` in `directory`, or a ledger in memory for None. Raises UsageError where that fails.

        `redact` removes secrets from errors, which may contain the API's own words, before they are stored. `patience`:
        seconds to wait for other processes that open it; LedgerBusy reports that this time passed.
        """
        self._redact = redact
        self._path = ":memory:" if directory is None else str(directory / LEDGER_FILE)
        self._identity: tuple[int, int] | None = None
        try:
            if directory is None:
                self._open(patience)
                return
            with opened_alone(_prepared(directory) / "ledger.lock", patience):
                self._identity = identity_of(directory)
                self._open(patience)
        except (OSError, *_FAULTS) as error:
            raise self._unusable(error, f"{self._path}: the ledger cannot be opened ({error})") from None

    def _open(self, patience: float) -> None:
        # One task at a time uses it. It is opened on a thread, because a file system may hang.
        self._db = sqlite3.connect(self._path, timeout=patience, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        if self._path != ":memory:":
            journal = "DELETE" if needs_rollback_journal(Path(self._path)) else "WAL"
            self._db.execute(f"PRAGMA journal_mode={journal}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            self._check_readable(version)
        elif version < SCHEMA:
            changes = [sql.CHANGES[old] for old in range(version, SCHEMA)] if version else [sql.TABLE]
            self._db.executescript(";".join(changes))
            self._db.execute("CREATE TABLE IF NOT EXISTS readable (schema INTEGER)")
            self._db.execute("INSERT INTO readable SELECT ? WHERE NOT EXISTS (SELECT 1 FROM readable)", (READABLE_BY,))
            self._db.execute(f"PRAGMA user_version={SCHEMA}")
        self._db.execute(f"SELECT {COLUMNS} FROM syncs LIMIT 0")
        self._db.execute("PRAGMA busy_timeout=0")  # from here on the caller waits for others and handles signals

    def _check_readable(self, version: int) -> None:
        """Checks the table `readable`, where a newer version names the oldest schema whose programs can use its file."""
        try:
            row = self._db.execute("SELECT min(schema) FROM readable").fetchone()
        except sqlite3.OperationalError:
            row = None
        if not row or type(row[0]) is not int or row[0] > SCHEMA:
            raise UsageError(
                f"{self._path}: written by a newer sync-runner (schema {version}, this one knows {SCHEMA}); use that "
                "version, or another state.dir, or restore the backup from before the upgrade"
            )

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def intend(self, entry: Entry) -> None:
        """Records, before the trigger is sent, that it will be. Raises UsageError, as every write."""
        sync = (entry.target, entry.name)
        self._write(
            sql.INTEND,
            (
                entry.key, entry.target, entry.account, entry.name, entry.sync_type, entry.run_id, entry.intended_at,
                entry.run_key, entry.holder, entry.lease_until,
            ),
            on_disk=True,
            then=(sql.SHORTEN, (*sync, *sync, KEPT_EACH - 1, *sync)),
        )  # fmt: skip

    def lease(self, key: str, holder: str, *, now: float, until: float) -> bool:
        """Takes or renews the lease of an entry until Unix time `until`; false where another holder's is still valid."""
        return key in self.renew({key: holder}, now=now, until=until)

    def renew(self, holders: Mapping[str, str], *, now: float, until: float) -> frozenset[str]:
        """As `lease` for each key with its holder, in one transaction. Returns the keys whose lease was given."""
        try:
            with self._db:
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute("BEGIN IMMEDIATE")
                return frozenset(key for key, holder in holders.items() if self._lease(key, holder, now, until))
        except _FAULTS as error:
            message = f"{self._path}: cannot be written ({error}); check space and permissions of state.dir"
            raise self._problem(error, message) from None

    def _lease(self, key: str, holder: str, now: float, until: float) -> bool:
        values = {"key": key, "holder": holder, "now": now, "until": until}
        if self._db.execute(sql.LEASE, values).rowcount == 1:
            return True
        self._db.execute(sql.WATCH, values)
        return False

    def watched(self, key: str, now: float) -> bool:
        """Whether a process other than the lease's holder polls the job of an entry, at Unix time `now`."""
        try:
            with closing(self._db.execute(sql.WATCHED, (key, now))) as rows:
                return rows.fetchone() is not None
        except _FAULTS as error:
            raise self._unusable(error, f"{self._path}: cannot be read ({error})") from None

    def triggered(
        self, key: str, job_id: ExternalText | str, *, external: bool = False, carried: Mapping[str, JSON] | None = None
    ) -> None:
        """Records the job from the API and its `carried` values; `foreign`: another's job, adopted while it runs."""
        self._write(
            sql.TRIGGERED,
            (raw(job_id), self._redact(raw(job_id)), external, json.dumps(dict(carried or {})), key),
        )

    def ended(
        self, key: str, outcome: str, at: float, *, processed: int | None = None, error: str | None = None
    ) -> None:
        """Records the outcome, at Unix time `at`."""
        self._write(
            sql.ENDED,
            (outcome, at, processed, None if error is None else self._redact(error), key),
        )

    def prune(self, before: float) -> int:
        """Deletes the ended syncs that began before that Unix time. Returns their number."""
        return self._write(sql.PRUNE, (before,))

    def transaction(
        self,
        statements: Statements,
        then: Callable[[list[tuple[Any, ...]]], Statements] = lambda _rows: [],
    ) -> list[tuple[Any, ...]]:
        """Runs the statements in one transaction, then those that `then` makes of the last one's rows. Returns these rows."""
        rows: list[tuple[Any, ...]] = []
        try:
            self._db.execute("PRAGMA synchronous=FULL")
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for statement, values in statements:
                    rows = self._db.execute(statement, values).fetchall()
                for statement, values in then(rows):
                    self._db.execute(statement, values)
        except _FAULTS as error:
            raise self._problem(
                error, f"{self._path}: cannot be changed ({error}); check space and permissions"
            ) from None
        return rows

    def _write(
        self,
        statement: str,
        values: tuple[object, ...],
        *,
        on_disk: bool = False,
        then: tuple[str, tuple[object, ...]] | None = None,
    ) -> int:
        """Returns the number of rows written. `on_disk` data survives a power failure, other data a killed process.

        `then` runs in the same transaction: it costs no further disk write.
        """
        try:
            self._db.execute(f"PRAGMA synchronous={'FULL' if on_disk else 'NORMAL'}")
            if then is None:
                return self._db.execute(statement, values).rowcount
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                written = self._db.execute(statement, values).rowcount
                self._db.execute(*then)
            return written
        except _FAULTS as error:
            message = f"{self._path}: cannot be written ({error}); check space and permissions of state.dir"
            raise self._problem(error, message) from None

    def open_entry(self, target: str, name: str) -> Entry | None:
        """Returns the newest open sync of that name: a killed run's, or another process's."""
        return self._one(sql.OPEN, (target, name))

    def last_success(self, target: str, name: str) -> Entry | None:
        """Returns the newest completed sync of that name; not another's job, which may have covered other days."""
        return self._one(sql.SUCCESS, (target, name))

    def completed_under(self, target: str, name: str, run_key: str) -> Entry | None:
        """Returns the completed sync of that name from an earlier try of the same run (setting `run.key`)."""
        return self._one(sql.COMPLETED_UNDER, (target, name, run_key))

    def newest(self, target: str, name: str) -> Entry | None:
        """Returns the newest sync of that name, whatever its outcome."""
        return self._one(sql.NEWEST, (target, name))

    def of_job(self, target: str, job_id: ExternalText | str) -> Entry | None:
        """Returns the sync of that job."""
        return self._one(sql.OF_JOB, (target, raw(job_id)))

    def recent(self, limit: int) -> list[Entry]:
        """Returns the newest syncs of all accounts, newest first."""
        return self.select(sql.RECENT, (limit,))

    def _one(self, where: str, values: tuple[object, ...]) -> Entry | None:
        found = self.select(where, values)
        return found[0] if found else None

    def select(self, where: str, values: tuple[object, ...]) -> list[Entry]:
        """Returns the entries that match `where`. Raises UsageError, LedgerCorrupt for an entry that is not the runner's."""
        try:
            with closing(self._db.execute(f"SELECT {COLUMNS} FROM syncs WHERE {where}", values)) as rows:
                return [Entry.of_row(row) for row in rows]
        except (ValueError, TypeError, RecursionError):
            message = f"{self._path}: contains an entry that is not the runner's; move the file away"
            raise LedgerCorrupt(message, self._identity) from None
        except _FAULTS as error:
            raise self._unusable(error, f"{self._path}: cannot be read ({error})") from None

    def _unusable(self, error: Exception, message: str) -> UsageError:
        """Returns the error of a file that cannot be read. It knows what ran: only one that is no ledger may be moved away."""
        found = self._problem(error, f"{message}; check state.dir, or move the file away")
        if isinstance(found, LedgerCorrupt):
            return found
        return self._problem(error, f"{message}; check state.dir, its mode, and the limit on open files (ulimit -n)")

    def _problem(self, error: Exception, message: str) -> UsageError:
        """Returns the error: SQLite reports whether another process uses the file or it is no ledger
        (sqlite.org/rescode.html)."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LedgerBusy(message)
        if code == sqlite3.SQLITE_CONSTRAINT:  # the trigger of `state move`, which provides the message
            return StateMoved(f"{self._path}: {error}")
        corrupt = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # ERROR: foreign tables
        if code in corrupt or isinstance(error, UnicodeDecodeError):
            return LedgerCorrupt(message, self._identity)
        return UsageError(message)


def identity_of(directory: Path) -> tuple[int, int] | None:
    """Identifies the ledger's file, to recognise a replacement; None where there is none."""
    try:
        about = (directory / LEDGER_FILE).lstat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
