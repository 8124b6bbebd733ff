"""Profiles of APIs that are not here, against servers that speak from their published descriptions.

Each request of the runner and each answer is held against the description; what the server did is the judge.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import profile as profiles
from tests.servers.airflow_speaker import VIEWER, Airflow
from tests.servers.described import DescribedServer, description
from tests.servers.github_speaker import GitHub
from tests.servers.speakers import CLIENT, LOGIN, Airbyte, Awx, DbtCloud, Jobs
from tests.support.clock import LinkedClock
from tests.support.command_line import PATIENCE, Running
from tests.support.in_process import RunOutput, run_here
from tests.support.recording_proxy import RecordingProxy

CONNECTION = "18dccc91-0ab1-4f72-9ed7-0b8fc27c5826"


@dataclass(frozen=True)
class Api:
    """One API: its profile, who speaks for it, what it wants, and its words from begin to end."""

    profile: str
    speaker: type[Jobs]
    secrets: dict[str, str]
    sync: dict[str, Any]
    walk: tuple[Any, ...]
    failures: tuple[Any, ...]
    cancelled: Any
    trigger: str
    begun: dict[str, Any]
    common: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.profile


APIS = [
    Api(
        "airflow", Airflow, LOGIN, {"type": "nightly", "params": {"conf": {"day": 1}}},
        ("queued", "running", "success"), ("failed",), "failed", "/dagRuns", {"dag_run_id": "1", "dag": "nightly"},
    ),
    Api(
        "airbyte", Airbyte, CLIENT, {"type": "orders", "params": {"connection": CONNECTION}},
        ("pending", "queued", "running", "incomplete", "running", "succeeded"), ("failed",), "cancelled", "/jobs", {"connectionId": CONNECTION, "jobType": "sync"},
    ),
    Api(
        "dbt-cloud", DbtCloud, {"api_token": "a-token"}, {"type": "models", "params": {"job": 9}},
        (1, 2, 3, 10), (20,), 30, "/run/", {"job": 9}, {"account_id": 4},
    ),
    Api(
        "awx", Awx, {"api_token": "a-token"}, {"type": "nightly", "params": {"extra_vars": {"day": 1}}},
        ("new", "pending", "waiting", "running", "successful"), ("failed", "error"), "canceled", "/launch/", {},
    ),
    Api(
        "github-workflow", GitHub, {"api_token": "a-token"}, {"type": "nightly.yml", "params": {"inputs": {"mode": "full"}}},
        ("queued", "waiting", "in_progress", "success"), ("timed_out", "failure"), "cancelled", "/dispatches", {},
        {"repository": "example/orders"},
    ),
]  # fmt: skip
every_api = pytest.mark.parametrize("api", APIS, ids=str)


@dataclass
class Place:
    """A server of one API, and a user's directory."""

    api: Api
    jobs: Any
    server: DescribedServer
    home: Path

    def run(self, base_url: str | None = None, **settings: Any) -> RunOutput:
        """One run of the API's sync to its end."""
        return run_here(
            base_url or self.server.base_url, self.home / "secrets", [self.api.sync], profile=self.api.profile,
            state=self.home / "state", params=self.api.common, **settings,
        )  # fmt: skip

    def start(self, *arguments: str) -> Running:
        """A command of the real command line, with the API's sync in its settings."""
        settings = {
            "profile": self.api.profile, "base_url": self.server.base_url, "params": self.api.common,
            "syncs": [self.api.sync], "secrets_dir": str(self.home / "secrets"),
        }  # fmt: skip
        (self.home / "runner.yaml").write_text(yaml.safe_dump(settings))
        return Running(["--config", str(self.home / "runner.yaml"), *arguments], {})

    def until_started(self) -> None:
        """Wait until the server has a job that somebody has looked at."""
        end = time.monotonic() + PATIENCE
        while not any(job.script != self.jobs.script for job in self.jobs.started):
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[[Api, tuple[Any, ...]], Place]]:
    """Makes a place whose jobs go through the words given. In the end all that was said fits the description."""
    with ExitStack() as stack:
        servers = []

        def make(api: Api, words: tuple[Any, ...]) -> Place:
            jobs: Any = api.speaker(list(words))
            servers.append(stack.enter_context(DescribedServer(api.profile, jobs)))
            (tmp_path / "secrets").mkdir()
            for name, secret in api.secrets.items():
                (tmp_path / "secrets" / name).write_text(secret)
            return Place(api, jobs, servers[-1], tmp_path)

        yield make
        assert [misfit for server in servers for misfit in server.misfits] == []


At = Callable[[Api, tuple[Any, ...]], Place]


@every_api
def test_a_job_is_triggered_watched_through_every_word_and_completed(api: Api, at: At) -> None:
    place = at(api, api.walk)
    ended = place.run()
    assert ended.code == 0, ended.errors
    (job,) = place.jobs.started
    assert job.word == api.walk[-1]
    sent = next(iter(api.sync["params"].values()))
    assert str(sent) in str(job.asked) or api.profile == "dbt-cloud"


@every_api
def test_a_failed_job_fails_the_sync(api: Api, at: At) -> None:
    place = at(api, (*api.walk[:-1], api.failures[-1]))
    assert place.run().code == 4
    assert len(place.jobs.started) == 1


@every_api
def test_a_job_that_outlives_the_deadline_is_cancelled(api: Api, at: At) -> None:
    place = at(api, api.walk[:-1])
    assert place.run(deadline={"sync": 60}, clock=LinkedClock()).code == 6
    assert [job.word for job in place.jobs.started] == [api.cancelled]


@every_api
def test_a_lost_answer_to_the_trigger_starts_no_second_job(api: Api, at: At) -> None:
    place = at(api, tuple(word for word in api.walk for _look in range(3)))
    with RecordingProxy(place.server.base_url, lose=api.trigger) as proxy:
        ended = place.run(proxy.base_url)
    assert ended.code == 0, ended.errors
    assert len(place.jobs.started) == 1


@every_api
def test_every_word_of_the_description_is_known_to_the_profile(api: Api) -> None:
    profile = {word for words in profiles.load(api.profile).jobs.words.values() for word in words}
    described = _words(description(api.profile)) or {1, 2, 3, 10, 20, 30}
    assert described <= profile
    assert {*api.walk, *api.failures} <= described


def _words(described: dict[str, Any]) -> set[Any]:
    """The enumeration of a job's states in the description; empty where it has none."""
    components = described["components"]
    filtered = components.get("parameters", {}).get("workflow-run-status")
    if filtered:  # as GitHub has it; a run that is completed has one of the others as its conclusion
        return set(filtered["schema"]["enum"]) - {"completed"}
    schemas = components["schemas"]
    for schema in (schemas.get("DagRunState"), schemas.get("JobStatusEnum")):
        if schema:
            return set(schema["enum"])
    return set(schemas.get("Job", {}).get("properties", {}).get("status", {}).get("enum", []))


def test_a_running_job_of_the_connection_is_adopted(at: At) -> None:
    airbyte = next(api for api in APIS if api.profile == "airbyte")
    place = at(airbyte, airbyte.walk)
    place.jobs.start(airbyte.begun)
    assert place.run().code == 0
    assert len(place.jobs.started) == 1


@every_api
def test_a_job_that_somebody_started_is_listed_and_cancelled_by_hand(api: Api, at: At) -> None:
    place = at(api, api.walk[:-1])
    place.jobs.start(api.begun)
    listed = place.start("status", "--json").finish()
    assert json.loads(listed.stdout)["accounts"][0]["sync_jobs"][0]["job_id"] == "1", listed.stderr
    ended = place.start("cancel", "1", "--sync", api.sync["type"]).finish()
    assert ended.code == 0, ended.stderr
    assert place.jobs.started[0].word == api.cancelled


def test_a_token_from_before_a_change_of_the_servers_key_is_replaced(at: At) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(airflow, airflow.walk)
    assert place.run().code == 0
    place.jobs.token = "another"
    again = place.run()
    assert again.code == 0, again.errors
    assert [event.method for event in again.named("session.started")] == ["login"]


def test_the_runner_remembers_which_sync_a_job_belongs_to(at: At) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(airflow, airflow.walk[:-1])
    state = ("--state-dir", str(place.home / "state"))
    running = place.start(*state, "--set", "on_interrupt=detach", "run")
    place.until_started()
    running.signal(signal.SIGTERM)
    assert running.finish().code == 143
    (job,) = place.jobs.started
    ended = place.start(*state, "cancel", job.asked["dag_run_id"]).finish()
    assert ended.code == 0, ended.stderr
    assert job.word == airflow.cancelled


@every_api
def test_a_wrong_secret_is_told_as_such(api: Api, at: At) -> None:
    place = at(api, api.walk)
    last = min(api.secrets)
    (place.home / "secrets" / last).write_text("wrong")
    ended = place.run()
    assert ended.code == 3, ended.errors
    assert place.jobs.started == []


def test_a_token_that_has_expired_is_replaced_and_dates_are_said_as_airflow_wants_them(at: At) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(airflow, airflow.walk)
    assert place.run().code == 0
    place.jobs.expired, place.jobs.token = place.jobs.token, "another"
    dated = {**airflow.sync, "start": "2026-01-01", "end": "2026-01-02"}
    again = run_here(
        place.server.base_url, place.home / "secrets", [dated], profile="airflow", state=place.home / "state"
    )
    assert again.code == 0, again.errors
    asked = place.jobs.started[-1].asked
    assert [asked[name] for name in ("logical_date", "data_interval_start", "data_interval_end")] == [
        "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z",
    ]  # fmt: skip


def test_a_paused_dag_is_told_at_once_and_gets_no_run(at: At) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(airflow, airflow.walk)
    place.jobs.paused = True
    ended = place.run()
    assert ended.code == 2, ended.errors
    assert "paused" in ended.errors
    assert place.jobs.started == []


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"params": {"conf": {"limit": "a word"}}}, 2, "is not of type"),
        ({"type": "nosuch"}, 2, "not found"),
    ],
)
def test_what_airflow_refuses_of_the_settings_is_told_in_its_words(
    at: At, change: dict[str, Any], code: int, told: str
) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(replace(airflow, sync={**airflow.sync, **change}), airflow.walk)
    ended = place.run()
    assert (ended.code, told in ended.errors) == (code, True), ended.errors
    assert place.jobs.started == []


def test_a_missing_right_is_told_apart_from_a_bad_token(at: At) -> None:
    airflow = next(api for api in APIS if api.profile == "airflow")
    place = at(replace(airflow, secrets=VIEWER), airflow.walk)
    ended = place.run()
    assert ended.code == 3, ended.errors
    assert "Forbidden" in ended.errors
    assert len(ended.named("session.started")) == 1


LOGS = {
    "airflow": [
        "=== extract, try 1", "extract begins", "Task failed RuntimeError no data",
        "=== load, try 1", "load begins", "Task failed RuntimeError no data",
    ],
    "awx": ["TASK [load] ***", "fatal: [db]: FAILED! => the table is locked"],
    "github-workflow": ["=== load", "failure: Process completed with exit code 1."],
    "dbt-cloud": ["dbt build", "1 of 2 OK", "2 of 2 ERROR"],
}  # fmt: skip


@pytest.mark.parametrize("api", [api for api in APIS if api.profile in LOGS], ids=str)
def test_the_log_of_a_failed_job_is_read(api: Api, at: At) -> None:
    place = at(api, (*api.walk[:-1], api.failures[-1]))
    ended = place.run()
    assert ended.code == 4
    assert list(ended.result.results[0].log) == LOGS[api.profile]
    assert ended.named("sync.output_unread") == []


def test_what_a_playbook_gives_is_a_result(at: At) -> None:
    awx = next(api for api in APIS if api.profile == "awx")
    ended = at(awx, awx.walk).run()
    assert ended.result.results[0].results == {"artifacts": {"rows": 12}}


def test_the_files_of_a_dbt_run_are_downloaded(at: At, tmp_path: Path) -> None:
    dbt = next(api for api in APIS if api.profile == "dbt-cloud")
    ended = at(dbt, dbt.walk).run(artifacts={"dir": str(tmp_path / "files")})
    assert ended.code == 0, ended.errors
    assert ended.named("sync.output_unread") == []
    stored = tmp_path / "files" / "default" / "models" / "run_results.json"
    assert json.loads(stored.read_text()) == {"results": []}


def test_a_name_that_two_templates_have_starts_neither_until_the_organization_is_told(at: At) -> None:
    awx = next(api for api in APIS if api.profile == "awx")
    place = at(replace(awx, sync={"type": "load"}), awx.walk)
    ended = place.run()
    assert ended.code == 2, ended.errors
    assert "several job templates have this name; give params.organization" in ended.errors
    assert place.jobs.started == []
    place.api = replace(awx, sync={"type": "load", "params": {"organization": "b"}})
    ended = place.run()
    assert (ended.code, len(place.jobs.started)) == (0, 1), ended.errors
