"""The sandbox's data in SQLite: users, sessions, jobs, synced items. Short transactions, one connection."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, username TEXT UNIQUE NOT NULL, password_hash TEXT NOT NULL, totp_seed TEXT NOT NULL,
    mfa TEXT NOT NULL, last_step INTEGER NOT NULL DEFAULT -1, failures INTEGER NOT NULL DEFAULT 0,
    locked_until REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS refresh_tokens (hash TEXT PRIMARY KEY, session_id TEXT NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS challenges (id TEXT PRIMARY KEY, user_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT UNIQUE NOT NULL, user_id TEXT NOT NULL, sync_type TEXT NOT NULL,
    status TEXT NOT NULL, progress REAL NOT NULL DEFAULT 0, start_time TEXT, end_time TEXT, error_message TEXT,
    total_items INTEGER, processed_items INTEGER NOT NULL DEFAULT 0, idempotency_key TEXT,
    UNIQUE (user_id, idempotency_key));
CREATE UNIQUE INDEX IF NOT EXISTS one_active ON jobs (user_id, sync_type) WHERE status IN ('pending', 'running');
CREATE TABLE IF NOT EXISTS items (
    user_id TEXT NOT NULL, sync_type TEXT NOT NULL, name TEXT NOT NULL, data TEXT, error TEXT,
    PRIMARY KEY (user_id, sync_type, name));
"""


class State:
    """The database; safe from several threads."""

    def __init__(self, path: Path) -> None:
        """Opens or creates it. Jobs that a stopped server left unfinished become failed."""
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        self.run(
            "UPDATE jobs SET status='failed', error_message='the server was restarted' WHERE status IN ('pending','running')"
        )

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Returns the first row."""
        with self._lock:
            row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Every row."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def run(self, sql: str, *values: Any) -> int:
        """Changes rows; returns their number. Raises sqlite3.IntegrityError."""
        with self._lock:
            return self._db.execute(sql, values).rowcount
