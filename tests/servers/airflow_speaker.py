"""What Airflow 3.3.2 answers about runs of a DAG, as it was seen to: tests/servers/test_airflow.py asks the real one."""

import json
from dataclasses import dataclass
from typing import Any

from tests.servers.described import Query, Said, Text
from tests.servers.speakers import LOGIN, Jobs, ScriptedJob

ENDED = ("success", "failed")
VIEWER = {"username": "watcher", "password": "battery staple"}
LIMIT = (
    "Invalid input for param limit: 'a word' is not of type 'integer'\n\nFailed validating 'type' in schema:\n"
    "    {'type': 'integer', 'minimum': 1}\n\nOn instance:\n    'a word'"
)


@dataclass
class Airflow(Jobs):
    """It has the DAG `nightly`. A run has the id that its starter gives; one id, and one logical date, is taken once.

    `token` is what it gives out; one that is `expired`, or of another key, is no longer good.
    """

    token: str = "jwt"
    expired: str = ""
    paused: bool = False

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said:
        """POST /auth/token, then /api/v2/dags/DAG[/dagRuns[/RUN]]."""
        if parts == ["auth", "token"]:
            return self._login(body)
        refused = self._refused(method, token)
        if refused:
            return refused
        if len(parts) == 4:
            known = parts[3] == "nightly"
            return (200, dag(self.paused)) if known else (404, {"detail": f"Dag with dag_id: '{parts[3]}' not found"})
        if parts[-1] == "dagRuns":
            return self._triggered(parts[3], body) if method == "POST" else self._listed(query)
        if "taskInstances" in parts:
            return self._task(parts)
        run = next((job for job in self.started if job.asked["dag_run_id"] == parts[-1]), None)
        if run is None:
            return 404, {"detail": f"The DagRun with dag_id: `{parts[3]}` and run_id: `{parts[-1]}` was not found"}
        if method == "PATCH":  # also of a run that has ended: it is rewritten
            run.end(body["state"])
            run.note = body["note"]
        run.poll()
        return 200, shown(run)

    def _task(self, parts: list[str]) -> Said:
        """The tasks of a run, or the log of one as a JSON object in each line."""
        if parts[-1] == "taskInstances":
            states = {"load": "failed", "extract": "success", "report": "upstream_failed"}
            tasks = [
                {"task_id": name, "state": state, "try_number": int(state != "upstream_failed"), "map_index": -1}
                for name, state in states.items()
            ]
            return 200, {"task_instances": tasks, "total_entries": len(tasks)}
        lines = [
            {"timestamp": "2026-11-27T02:48:29Z", "event": f"{parts[-3]} begins", "level": "info"},
            {"event": "Task failed", "error_detail": [{"exc_type": "RuntimeError", "exc_value": "no data"}]},
        ]
        return 200, Text("".join(json.dumps(line) + "\n" for line in lines), "application/x-ndjson")

    def _login(self, body: Any) -> Said:
        if body == LOGIN:
            return 201, {"access_token": self.token}
        if body == VIEWER:
            return 201, {"access_token": "viewer"}
        return 401, {"detail": "Invalid credentials"}

    def _refused(self, method: str, token: str) -> Said | None:
        if not token:
            return 401, {"detail": "Not authenticated"}
        if token == f"Bearer {self.expired}":
            return 401, {"detail": "Token Expired"}
        if token == "Bearer viewer":
            return (403, {"detail": "Forbidden"}) if method != "GET" else None
        return None if token == f"Bearer {self.token}" else (403, {"detail": "Invalid JWT token"})

    def _triggered(self, dag: str, body: Any) -> Said:
        date = body["logical_date"]
        if dag != "nightly":
            return 404, {"detail": f"Dag with dag_id: '{dag}' not found"}
        if date and "T" not in date:
            return 422, {
                "detail": [_problem("timezone_aware", "logical_date", "Input should have timezone info", date)]
            }
        if "a word" in (body.get("conf") or {}).values():
            return 400, {"detail": LIMIT}
        taken = [job.asked for job in self.started]
        if any(one["dag_run_id"] == body["dag_run_id"] or (date and one["logical_date"] == date) for one in taken):
            return 409, {
                "detail": {"reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden"}
            }
        return 200, shown(self.start({**body, "dag": dag}))

    def _listed(self, query: Query) -> Said:
        newest_first = query.get("order_by", "id").startswith("-")
        states = query.getlist("state")
        jobs = [job for job in self.started if not states or job.word in states]
        return 200, {
            "dag_runs": [shown(job) for job in (reversed(jobs) if newest_first else jobs)],
            "total_entries": len(jobs),
        }


def _problem(kind: str, field: str, message: str, given: str) -> dict[str, Any]:
    return {"type": kind, "loc": ["body", field], "msg": message, "input": given}


def dag(paused: bool) -> dict[str, Any]:
    """The DAG as Airflow shows it."""
    empty = (
        "bundle_version", "description", "last_expired", "next_dagrun_logical_date", "next_dagrun_data_interval_start",
        "next_dagrun_data_interval_end", "next_dagrun_run_after", "allowed_run_types", "timetable_summary",
    )  # fmt: skip
    at = "2026-11-27T02:48:29.171523Z"
    return {
        **dict.fromkeys(empty), "dag_id": "nightly", "dag_display_name": "nightly", "is_paused": paused, "is_stale": False,
        "last_parsed_time": at, "last_parse_duration": 0.37, "bundle_name": "dags-folder", "relative_fileloc": "dags.py",
        "fileloc": "/dags/dags.py", "timetable_description": "Never, external triggers only", "timetable_partitioned": False,
        "timetable_periodic": False, "tags": [], "max_active_tasks": 16, "max_active_runs": 16,
        "max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": False, "has_import_errors": False,
        "owners": ["airflow"], "is_backfillable": False, "file_token": "a token of the file",
    }  # fmt: skip


def shown(job: ScriptedJob) -> dict[str, Any]:
    """A run as Airflow shows it. It has no start while it is queued."""
    empty = (
        "duration", "data_interval_start", "data_interval_end", "last_scheduling_decision", "conf",
        "bundle_version", "partition_key", "partition_date", "triggered_by", "triggering_user_name",
    )  # fmt: skip
    return {
        **dict.fromkeys(empty), "dag_run_id": job.asked["dag_run_id"], "dag_id": job.asked["dag"], "state": job.word,
        "note": job.note, "logical_date": job.asked.get("logical_date"), "queued_at": job.at, "run_after": job.at,
        "start_date": None if job.word == "queued" else job.at, "end_date": job.at if job.word in ENDED else None,
        "run_type": "manual", "dag_versions": [], "dag_display_name": job.asked["dag"],
    }  # fmt: skip
