"""What Airbyte, dbt Cloud and AWX do with jobs, in as few lines as their descriptions and pages tell it.

A job shows one word of its script at each look, and stays at the last. What happened is there to be judged by.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.servers.described import Query, Said, Text

LOGIN = {"username": "runner", "password": "correct horse"}
CLIENT = {"client_id": "an-id", "client_secret": "a-secret"}


@dataclass
class ScriptedJob:
    """A job and what each look at it shows."""

    number: int
    asked: Any
    script: list[Any]
    note: str | None = None
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat().replace("+00:00", "Z"))

    @property
    def word(self) -> Any:
        """The status as it is now."""
        return self.script[0]

    def poll(self) -> None:
        """One look has been taken."""
        if len(self.script) > 1:
            self.script.pop(0)

    def end(self, word: Any) -> None:
        """The job was cancelled."""
        self.script = [word]


@dataclass
class Jobs:
    """The jobs of one API. Each new one follows `script`."""

    script: list[Any]
    started: list[ScriptedJob] = field(default_factory=list)

    def start(self, asked: Any) -> ScriptedJob:
        """A new job."""
        self.started.append(ScriptedJob(len(self.started) + 1, asked, list(self.script)))
        return self.started[-1]

    def found(self, number: str) -> ScriptedJob | None:
        """The job of that number."""
        return next((job for job in self.started if str(job.number) == number), None)


class Airbyte(Jobs):
    """A connection runs one job at a time."""

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said:
        """POST /applications/token, then /jobs[/JOB]."""
        if parts[0] == "applications":
            grant = {"access_token": "jwt", "token_type": "Bearer", "expires_in": 900}
            return (200, grant) if body == {**CLIENT, "grant-type": "client_credentials"} else (403, None)
        if token != "Bearer jwt":
            return 403, None
        if method == "POST":
            if any(job.word in ("pending", "queued", "running", "incomplete") for job in self.started):
                return 409, None
            return 200, self.shown(self.start(body))
        if parts == ["jobs"]:
            return 200, {"data": [self.shown(job) for job in reversed(self.started)]}
        job = self.found(parts[1])
        if job is None:
            return 404, None
        if method == "DELETE":
            job.end("cancelled")
        job.poll()
        return 200, self.shown(job)

    def shown(self, job: ScriptedJob) -> dict[str, Any]:
        """A job as Airbyte shows it."""
        asked = {"jobType": job.asked["jobType"], "connectionId": job.asked["connectionId"]}
        return {"jobId": job.number, "status": job.word, "startTime": job.at, "rowsSynced": 7, **asked}


class DbtCloud(Jobs):
    """Runs have numbers for states."""

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said:
        """/api/v2/accounts/ACCOUNT/jobs/JOB/run and /api/v2/accounts/ACCOUNT/runs[/RUN[/cancel]]."""
        status = {"code": 200, "is_success": True, "user_message": "Success!", "developer_message": ""}
        if token != "Token a-token":
            return 401, {"status": {**status, "is_success": False, "user_message": "Invalid token."}}
        if parts[-1] == "run":
            run = self.start({**body, "job": int(parts[5])})
        elif parts[-1] == "runs":
            return 200, {"status": status, "data": [self.shown(job) for job in reversed(self.started)]}
        else:
            found = self.found(parts[5])
            if found is None:
                return 404, {"status": {**status, "is_success": False, "user_message": "Not found."}}
            run = found
            if "artifacts" in parts:
                return 200, self.file(parts[7:], status)
            if parts[-1] == "cancel":
                run.end(30)
            if "include_related" not in query:
                run.poll()
        return 200, {"status": status, "data": self.shown(run)}

    def file(self, path: list[str], status: Any) -> Any:
        """The names of the files of a run, or one of them."""
        return {"results": []} if path else {"status": status, "data": ["run_results.json"]}

    def shown(self, job: ScriptedJob) -> dict[str, Any]:
        """A run as dbt Cloud shows it."""
        message = "Error code 1" if job.word == 20 else None
        times = {"created_at": job.at, "updated_at": job.at, "started_at": None, "finished_at": None}
        return {
            "id": job.number,
            "job_definition_id": job.asked["job"],
            "status": job.word,
            "status_message": message,
            **times,
            "run_steps": [{"name": "dbt build", "logs": "1 of 2 OK\n2 of 2 ERROR"}],
        }


class Awx(Jobs):
    """A template is found by its name; a job is cancelled without an answer."""

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said:
        """/api/v2/job_templates[/TEMPLATE/launch] and /api/v2/jobs[/JOB[/cancel]]."""
        if token != "Bearer a-token":
            return 401, {"detail": "Authentication credentials were not provided."}
        if parts[-1] == "job_templates":
            return 200, _page(self.templates(query["name"], query.get("organization__name")))
        if parts[-1] == "launch":
            return 201, self.shown(self.start(body or {}))
        if parts[-1] == "jobs":
            return 200, _page([self.shown(job) for job in reversed(self.started)])
        job = self.found(parts[3])
        if job is None:
            return 404, {"detail": "Not found."}
        if parts[-1] == "stdout":
            return 200, Text("TASK [load] ***\nfatal: [db]: FAILED! => the table is locked\n")
        if parts[-1] == "cancel":
            job.end("canceled")
            return 202, None
        job.poll()
        return 200, self.shown(job)

    def templates(self, name: str, organization: str | None) -> list[dict[str, Any]]:
        """The templates of that name: two organizations have one called "load"."""
        known = [(7, "nightly", "a"), (8, "load", "a"), (9, "load", "b")]
        fit = [one for one in known if one[1] == name and organization in (None, one[2])]
        return [{"id": number, "type": "job_template", "name": called} for number, called, _of in fit]

    def shown(self, job: ScriptedJob) -> dict[str, Any]:
        """A job as AWX shows it."""
        failed = job.word in ("failed", "error", "canceled")
        return {
            "id": job.number, "type": "job", "name": "nightly", "status": job.word, "failed": failed, "started": job.at,
            "artifacts": {"rows": 12},
            "finished": None, "job_explanation": "The host is gone." if job.word == "error" else "", "job_template": 7,
            "summary_fields": {"job_template": {"id": 7, "name": "nightly"}},
        }  # fmt: skip


def _page(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"count": len(results), "next": None, "previous": None, "results": results}
