"""Built-in profiles of APIs that take a token, each against a stand-in written from the API's published description.

The stand-in keeps the jobs, so that a second trigger would show.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Finished, sync_runner
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

Say = Callable[[Asked], Answers]
KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Service:
    """Jobs by id: each walks through `words`, one a poll; the last stays."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.jobs: dict[str, list[str]] = {}
        self.cancelled: list[str] = []

    def start(self, job_id: str) -> str:
        self.jobs[job_id] = list(self.words)
        return job_id

    def word(self, job_id: str) -> str:
        left = self.jobs[job_id]
        return left.pop(0) if len(left) > 1 else left[0]


def _databricks(service: Service) -> ScriptedApi:
    tokens: dict[str, int] = {}

    def run(number: str) -> dict[str, Any]:
        cycle, _, result = service.word(number).partition("/")
        state = {"life_cycle_state": cycle, "state_message": "why", **({"result_state": result} if result else {})}
        return {"run_id": int(number), "job_id": 612, "state": state, "start_time": 1_767_225_600_000, "end_time": 0}

    def run_now(asked: Asked) -> Answers:
        assert asked.headers["Authorization"] == "Bearer tok-123"
        assert asked.json["job_id"] == 612
        token = asked.json["idempotency_token"]
        assert KEY.fullmatch(token)
        if token not in tokens:
            tokens[token] = 71 + len(tokens)
            service.start(str(tokens[token]))
        return Answers({"run_id": tokens[token], "number_in_job": tokens[token]})

    def cancel(asked: Asked) -> Answers:
        number = str(asked.json["run_id"])
        service.cancelled.append(number)
        service.jobs[number] = ["TERMINATING/CANCELED", "TERMINATED/CANCELED"]
        return Answers({})

    return ScriptedApi(
        {
            "POST /api/2.1/jobs/run-now": run_now,
            "GET /api/2.1/jobs/runs/get": lambda asked: Answers(run(asked.query["run_id"][0])),
            "GET /api/2.1/jobs/runs/list": Answers({"has_more": False}),
            "POST /api/2.1/jobs/runs/cancel": cancel,
        }
    )


def _gitlab(service: Service) -> ScriptedApi:
    place = "/api/v4/projects/42/pipeline"

    def pipeline() -> dict[str, Any]:
        return {
            "id": 9, "iid": 1, "project_id": 42, "status": service.word("9"), "source": "api", "ref": "main",
            "created_at": "2026-01-31T00:00:00.000Z", "finished_at": None, "yaml_errors": None,
        }  # fmt: skip

    def start(asked: Asked) -> Answers:
        assert asked.headers["PRIVATE-TOKEN"] == "tok-123"
        assert asked.json["ref"] == "main"
        service.start("9")
        return Answers(pipeline(), 201)

    def cancel(_asked: Asked) -> Answers:
        service.cancelled.append("9")
        service.jobs["9"] = ["canceling", "canceled"]
        return Answers(pipeline())

    return ScriptedApi(
        {
            f"POST {place}": start,
            f"GET {place}s/9": lambda _asked: Answers(pipeline()),
            f"GET {place}s": lambda _asked: Answers([pipeline()] if service.jobs else []),
            f"POST {place}s/9/cancel": cancel,
        }
    )


class _Argo(ScriptedApi):
    """Its paths hold the name that the runner chose."""

    def __init__(self, service: Service) -> None:
        self.service = service
        super().__init__(
            {"POST /api/v1/workflows/data/submit": self.submit, "GET /api/v1/workflows/data": Answers({"items": None})}
        )

    def submit(self, asked: Asked) -> Answers:
        assert asked.headers["Authorization"] == "Bearer tok-123"
        name = asked.json["submitOptions"]["name"]
        assert (asked.json["resourceKind"], asked.json["resourceName"]) == ("WorkflowTemplate", "nightly")
        if name in self.service.jobs:
            return Answers({"code": 6, "message": f'workflows.argoproj.io "{name}" already exists'}, 409)
        self.service.start(name)
        place = f"/api/v1/workflows/data/{name}"
        self.routes[f"GET {place}"] = lambda _asked: Answers(self.workflow(name))
        self.routes[f"PUT {place}/terminate"] = lambda _asked: self.terminate(name)
        return Answers({**self.workflow(name), "status": {}})

    def workflow(self, name: str) -> dict[str, Any]:
        phase, _, message = self.service.word(name).partition("/")
        return {
            "metadata": {"name": name, "namespace": "data", "creationTimestamp": "2026-01-31T00:00:00Z"},
            "spec": {"workflowTemplateRef": {"name": "nightly"}},
            "status": {"phase": phase, "finishedAt": None, **({"message": message} if message else {})},
        }

    def terminate(self, name: str) -> Answers:
        self.service.cancelled.append(name)
        self.service.jobs[name] = ["Running", "Failed/Stopped with strategy 'Terminate'"]
        return Answers(self.workflow(name))


class _Jenkins(ScriptedApi):
    """A build waits in the queue for its first poll, and keeps its number there."""

    def __init__(self, service: Service) -> None:
        self.service, place = service, "/job/data/job/nightly"
        super().__init__(
            {
                f"GET {place}/api/json": lambda _asked: Answers(self.builds(), headers=(("X-Jenkins", "2.500"),)),
                f"POST {place}/build": self.build,
                f"POST {place}/7/stop": lambda _asked: self.stop(),
                f"GET {place}/7/logText/progressiveText": self.console,
            }
        )

    def build(self, asked: Asked) -> Answers:
        assert asked.headers["Authorization"].startswith("Basic ")
        assert asked.form["json"] == '{"parameter": [{"name": "MODE", "value": "full"}]}'
        self.service.start("12")
        return Answers(None, 201, (("Location", f"{self.base_url}/queue/item/12/"),))

    def builds(self) -> dict[str, Any]:
        word = self.service.word("12") if self.service.jobs else None
        if word == "QUEUED":
            waits = {"id": 12, "why": "Waiting for next available executor", "inQueueSince": 1_767_225_600_000}
            return {"name": "nightly", "builds": [], "queueItem": waits}
        build = {
            "number": 7, "queueId": 12, "building": word == "BUILDING", "result": None if word == "BUILDING" else word,
            "timestamp": 1_767_225_600_000, "duration": 0, "description": None,
        }  # fmt: skip
        return {"name": "nightly", "builds": [build] if word else [], "queueItem": None}

    def stop(self) -> Answers:
        self.service.cancelled.append("12")
        self.service.jobs["12"] = ["ABORTED"]
        return Answers(None, 302, (("Location", "/job/data/job/nightly/7/"),))

    def console(self, asked: Asked) -> Answers:
        text = "Started by user op\nERROR: the disk is full\n"
        start = int(asked.query["start"][0])
        return Answers(
            raw=text[start:].encode(), headers=(("X-Text-Size", str(len(text))), ("Content-Type", "text/plain"))
        )


# Profile, stand-in, parameters, then the words of a run that succeeds, fails, and goes on.
CASES = {
    "databricks": (
        _databricks, ["job=612"],
        ["PENDING", "RUNNING", "TERMINATING/SUCCESS", "TERMINATED/SUCCESS"], ["RUNNING", "TERMINATED/FAILED"], ["RUNNING"],
    ),
    "gitlab-pipeline": (
        _gitlab, ["project='42'"],
        ["created", "pending", "running", "success"], ["running", "failed"], ["running"],
    ),
    "jenkins": (
        _Jenkins, ["job=job/data/job/nightly", 'parameters=[{"name": "MODE", "value": "full"}]'],
        ["QUEUED", "QUEUED", "BUILDING", "SUCCESS"], ["BUILDING", "FAILURE"], ["BUILDING"],
    ),
    "argo-workflows": (
        _Argo, ["namespace=data"],
        ["Pending", "Running", "Succeeded"], ["Running", "Failed/child failed"], ["Running"],
    ),
}  # fmt: skip
DEADLINE = (
    "--set",
    "deadline.sync=8s",
    "--set",
    "poll.max=1s",
)  # 0.8 s of it are for the cancel, on a busy machine too
every_profile = pytest.mark.parametrize("name", CASES)


def _run(name: str, api: ScriptedApi, home: Path, *more: str) -> Finished:
    secrets = home / "secrets"
    secrets.mkdir(exist_ok=True)
    for secret in ("api_token", "username", "password"):
        (secrets / secret).write_text("tok-123", encoding="utf-8")
    params = [word for one in CASES[name][1] for word in ("--set", f"params.{one}".replace("'", ""))]
    return sync_runner(
        "--base-url", api.base_url, "--profile", name, "--secrets-dir", str(secrets), "--state-dir", str(home / "state"),
        "--set", "poll.min=10ms", "--set", "poll.max=50ms", *params, *more, "run", "nightly", "--report", "-",
    )  # fmt: skip


@every_profile
def test_a_job_is_followed_to_its_good_end(name: str, tmp_path: Path) -> None:
    service = Service(CASES[name][2])
    with CASES[name][0](service) as api:
        ended = _run(name, api, tmp_path)
    assert ended.code == 0, ended.stderr
    assert len(service.jobs) == 1
    assert service.cancelled == []


@every_profile
def test_a_failed_job_is_code_4(name: str, tmp_path: Path) -> None:
    service = Service(CASES[name][3])
    with CASES[name][0](service) as api:
        ended = _run(name, api, tmp_path)
    assert ended.code == 4, ended.stderr
    assert len(service.jobs) == 1


@every_profile
def test_a_job_is_cancelled_at_the_deadline(name: str, tmp_path: Path) -> None:
    service = Service(CASES[name][4])
    with CASES[name][0](service) as api:
        ended = _run(name, api, tmp_path, *DEADLINE)
    assert ended.code == 6, ended.stderr
    assert len(service.cancelled) == 1


@every_profile
def test_a_refused_token_is_code_3(name: str, tmp_path: Path) -> None:
    refused = Answers({"message": "401 Unauthorized"}, 401)
    paths = {"databricks": "/api/2.1/jobs/run-now", "gitlab-pipeline": "/api/v4/projects/42/pipeline",
             "argo-workflows": "/api/v1/workflows/data/submit", "jenkins": "/job/data/job/nightly/build"}  # fmt: skip
    routes: dict[str, Route] = {f"POST {paths[name]}": refused, "GET /job/data/job/nightly/api/json": refused}
    with ScriptedApi(routes) as api:
        ended = _run(name, api, tmp_path)
    assert ended.code == 3, ended.stderr
    assert ("password" if name == "jenkins" else "api_token") in ended.errors


LOGS = {
    "jenkins": ["Started by user op", "ERROR: the disk is full"],
    "gitlab-pipeline": ["=== load", "ERROR: Job failed: exit code 1"],
}


@pytest.mark.parametrize("name", LOGS)
def test_the_log_of_a_failed_job_is_read(name: str, tmp_path: Path) -> None:
    service = Service(CASES[name][3])
    with CASES[name][0](service) as api:
        if name == "gitlab-pipeline":
            jobs = [{"id": 5, "name": "load", "status": "failed"}, {"id": 4, "name": "check", "status": "success"}]
            api.routes["GET /api/v4/projects/42/pipelines/9/jobs"] = Answers(jobs)
            api.routes["GET /api/v4/projects/42/jobs/4/trace"] = Answers(raw=b"")
            api.routes["GET /api/v4/projects/42/jobs/5/trace"] = Answers(
                raw=b"\x1b[31mERROR: Job failed: exit code 1\x1b[0m\n"
            )
        ended = _run(name, api, tmp_path)
    assert ended.code == 4, ended.stderr
    assert ended.report["syncs"][0]["log"] == LOGS[name]


def test_a_build_that_waits_is_taken_out_of_the_queue_of_jenkins(tmp_path: Path) -> None:
    service = Service(["QUEUED"])
    with CASES["jenkins"][0](service) as api:

        def out(asked: Asked) -> Answers:
            assert asked.query["id"] == ["12"]
            service.cancelled.append("12")
            service.jobs.clear()
            return Answers(None, 204)

        api.routes["POST /queue/cancelItem"] = out
        ended = _run("jenkins", api, tmp_path, *DEADLINE)
    assert ended.code == 6, ended.stderr
    assert service.cancelled == ["12"]


def test_a_job_that_jenkins_does_not_know_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    page = Answers(
        raw=b"<html><h1>Not Found</h1></html>",
        status=404,
        headers=(("X-Jenkins", "2.500"), ("Content-Type", "text/html")),
    )
    with ScriptedApi({"GET /job/data/job/nightly/api/json": page}) as api:
        ended = _run("jenkins", api, tmp_path)
    assert ended.code == 2, ended.stderr
