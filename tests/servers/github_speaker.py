"""What GitHub does with runs of a workflow. Its answers are the examples of its own description, with the values of the run."""

from functools import cache
from typing import Any

from tests.servers.described import Query, Said, description
from tests.servers.speakers import Jobs, ScriptedJob

UNDER_WAY = ("queued", "in_progress", "requested", "waiting", "pending")


class GitHub(Jobs):
    """The runs of one workflow, which is dispatched."""

    def answer(self, method: str, parts: list[str], query: Query, body: Any, token: str) -> Said:
        """/repos/OWNER/NAME/actions/workflows/FILE/(dispatches|runs), /actions/runs[/RUN[/(cancel|jobs)]], annotations."""
        if token != "Bearer a-token":
            return 401, {"message": "Bad credentials"}
        if parts[-1] == "dispatches":
            if parts[5] != "nightly.yml":
                return 404, {"message": "Not Found", "status": "404"}
            address = f"https://api.github.com/repos/example/orders/actions/runs/{len(self.started) + 1}"
            run = self.start(body)
            return 200, {"workflow_run_id": run.number, "run_url": address, "html_url": address}
        if parts[-1] == "runs":
            return 200, {
                "total_count": len(self.started),
                "workflow_runs": [self.shown(j) for j in reversed(self.started)],
            }
        if parts[-1] == "annotations":
            return 200, [
                _example("annotation")
                | {"annotation_level": "failure", "message": "Process completed with exit code 1."}
            ]
        run_or_none = self.found(parts[5])
        if run_or_none is None:
            return 404, {"message": "Not Found", "status": "404"}
        if parts[-1] == "jobs":
            job = _example("job") | {
                "id": 71,
                "name": "load",
                "conclusion": "failure",
                "created_at": "2020-01-20T17:42:40Z",
            }
            return 200, {"total_count": 1, "jobs": [job]}
        if parts[-1] == "cancel":
            run_or_none.end("cancelled")
            return 202, {}
        run_or_none.poll()
        return 200, self.shown(run_or_none)

    def shown(self, job: ScriptedJob) -> dict[str, Any]:
        """A run as GitHub shows it."""
        under_way = job.word in UNDER_WAY
        return _example("workflow-run") | {
            "id": job.number, "status": job.word if under_way else "completed", "conclusion": None if under_way else job.word,
            "created_at": job.at, "updated_at": job.at, "event": "workflow_dispatch",
        }  # fmt: skip


@cache
def _example(name: str) -> dict[str, Any]:
    value: dict[str, Any] = description("github-workflow")["components"]["examples"][name]["value"]
    return value
