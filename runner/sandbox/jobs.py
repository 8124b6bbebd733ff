"""The sandbox's sync jobs: parses, checks and stores each item; paced; cancellable."""

import asyncio
import json
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.sandbox import data
from runner.sandbox.accounts import Refusal
from runner.sandbox.faults import Faults
from runner.sandbox.state import State

TYPES = ("activities", "health", "workouts")
_FIELDS = (
    "job_id",
    "user_id",
    "sync_type",
    "status",
    "progress",
    "start_time",
    "end_time",
    "error_message",
    "total_items",
    "processed_items",
)
_ACTIVE = "status IN ('pending','running')"


class Jobs:
    """Starts, runs, shows and cancels jobs."""

    def __init__(self, state: State, faults: Faults, directory: Path, seconds: float) -> None:
        """`seconds` is the minimum duration of a job."""
        self._state, self._faults, self._directory, self._seconds = state, faults, directory, seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def trigger(self, user: str, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        """Starts a job, or returns the first response to `key` again. Raises Refusal while one of the type runs."""
        earlier = (
            self._state.one("SELECT * FROM jobs WHERE user_id=? AND idempotency_key=?", user, key) if key else None
        )
        if earlier is not None:
            return {"success": True, "job_id": earlier["job_id"], "status": "pending", "message": "sync accepted"}
        job_id, kind = str(uuid.uuid4()), body["sync_type"]
        try:
            self._state.run(
                "INSERT INTO jobs (job_id, user_id, sync_type, status, idempotency_key) VALUES (?,?,?,'pending',?)",
                job_id,
                user,
                kind,
                key,
            )
        except sqlite3.IntegrityError:
            running = self._state.one(
                f"SELECT job_id FROM jobs WHERE user_id=? AND sync_type=? AND {_ACTIVE}", user, kind
            )
            raise Refusal(
                409, f"a sync of type {kind} is running", {"job_id": running["job_id"]} if running else None
            ) from None
        task = asyncio.create_task(self._work(job_id, user, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"success": True, "job_id": job_id, "status": "pending", "message": "sync accepted"}

    async def stop(self) -> None:
        """Stops all work immediately; the jobs stay unfinished, as when a server is killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, job_id: str, user: str, body: dict[str, Any]) -> None:
        kind = body["sync_type"]
        if not self._state.run(
            "UPDATE jobs SET status='running', start_time=? WHERE job_id=? AND status='pending'", _now(), job_id
        ):
            return None
        window = body.get("date_range") or {}
        todo = data.items(self._directory, kind, window.get("start_date"), window.get("end_date"))
        if not body.get("force_full_sync"):
            rows = self._state.all(
                "SELECT name FROM items WHERE user_id=? AND sync_type=? AND error IS NULL", user, kind
            )
            known = {row["name"] for row in rows}
            todo = [item for item in todo if item.path.name not in known]
        self._state.run("UPDATE jobs SET total_items=? WHERE job_id=?", len(todo), job_id)
        if self._faults.strike("job_fails", sync_type=kind):
            return self._end(job_id, "failed", "the data source is not available")
        stalls = self._faults.strike("job_stalls", sync_type=kind)
        failed = 0
        pause = self._seconds / max(len(todo), 1)
        began = asyncio.get_running_loop().time()
        for number, item in enumerate(todo, 1):  # each is completed at the end of its share of the time
            await asyncio.sleep(max(0.0, began + number * pause - asyncio.get_running_loop().time()))
            failed += self._store(user, kind, item)
            if not self._state.run(
                "UPDATE jobs SET processed_items=?, progress=? WHERE job_id=? AND status='running'",
                number,
                100.0 * number / len(todo),
                job_id,
            ):
                return None  # cancelled
            if stalls and number * 2 >= len(todo):
                await asyncio.sleep(86_400)
        if not todo and self._seconds:
            await asyncio.sleep(self._seconds)
        reason = f"{failed} of {len(todo)} items failed" if failed else None
        return self._end(job_id, "failed" if failed and failed == len(todo) else "completed", reason)

    def _store(self, user: str, kind: str, item: data.Item) -> int:
        """Parses and stores one item; returns 1 where it failed."""
        parsed, error = None, None
        try:
            parsed = json.dumps(data.parse(item.path))
        except ValueError as problem:
            error = str(problem)
        self._state.run("INSERT OR REPLACE INTO items VALUES (?,?,?,?,?)", user, kind, item.path.name, parsed, error)
        return int(error is not None)

    def _end(self, job_id: str, status: str, reason: str | None) -> None:
        full = "progress=CASE WHEN ?='completed' THEN 100 ELSE progress END"
        self._state.run(
            f"UPDATE jobs SET status=?, end_time=?, error_message=?, {full} WHERE job_id=? AND {_ACTIVE}",
            status, _now(), reason, status, job_id,
        )  # fmt: skip

    def show(self, user: str, job_id: str | None, status: str | None, limit: int) -> list[dict[str, Any]]:
        """Returns the user's newest jobs, or the requested one. Raises Refusal where there is no such job."""
        where, values = "user_id=?", [user]
        for column, value in (("job_id", job_id), ("status", status)):
            if value is not None:
                where += f" AND {column}=?"
                values.append(value)
        rows = self._state.all(f"SELECT * FROM jobs WHERE {where} ORDER BY number DESC LIMIT ?", *values, limit)
        if job_id is not None and not rows:
            raise Refusal(404, "no such job")
        return [{name: row[name] for name in _FIELDS} for row in rows]

    def log(self, user: str, job_id: str) -> str:
        """Returns the job's log, with a line for each failed item. Raises Refusal where there is no such job."""
        job = self.show(user, job_id, None, 1)[0]
        kind = job["sync_type"]
        lines = [f"{job['start_time'] or '-'} {kind}: {job['total_items'] or 0} items to sync"]
        sql = "SELECT name, error FROM items WHERE user_id=? AND sync_type=? AND error IS NOT NULL ORDER BY name"
        lines += [f"{kind}: {row['name']} failed: {row['error']}" for row in self._state.all(sql, user, kind)]
        if job["end_time"]:
            why = f" ({job['error_message']})" if job["error_message"] else ""
            lines.append(
                f"{job['end_time']} {kind}: {job['status']}, {job['processed_items'] or 0} items processed{why}"
            )
        return "".join(f"{line}\n" for line in lines)

    def results(self, user: str, job_id: str) -> dict[str, Any]:
        """Returns the job's results. Raises Refusal where there is no such job."""
        job = self.show(user, job_id, None, 1)[0]
        sql = "SELECT COUNT(*) AS stored, MAX(name) AS newest FROM items WHERE user_id=? AND sync_type=? AND error IS NULL"
        row = self._state.one(sql, user, job["sync_type"])
        return {
            "processed": job["processed_items"] or 0,
            "stored": row["stored"] if row else 0,
            "newest": row and row["newest"],
        }

    def cancel(self, user: str, job_id: str) -> dict[str, Any]:
        """Returns the job, cancelled if it had not ended. Raises Refusal where there is no such job."""
        self._state.run(
            f"UPDATE jobs SET status='cancelled', end_time=? WHERE job_id=? AND user_id=? AND {_ACTIVE}",
            _now(),
            job_id,
            user,
        )
        return self.show(user, job_id, None, 1)[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
