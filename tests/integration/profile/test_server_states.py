"""What real servers and the proxies before them answer while they start, stop or are in maintenance, as it was recorded."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import LinkedClock
from tests.support.in_process import RunOutput, run_here
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

PAGE = (("Content-Type", "text/html"),)
PLAIN = (("Content-Type", "text/plain; charset=utf-8"),)
SECRETS = {"username": "ann", "password": "geheim!"}
BEGAN = "2026-11-27T16:02:40.381+00:00"


def run_at(api: ScriptedApi, home: Path, profile: str, sync: Any, **settings: Any) -> RunOutput:
    """Run one sync by a built-in profile."""
    secrets = home / "secrets"
    secrets.mkdir(exist_ok=True)
    for name, secret in SECRETS.items():
        (secrets / name).write_text(secret)
    return run_here(api.base_url, secrets, [sync], profile=profile, state=home / "state", **settings)


def home_assistant(*, starting: dict[str, int]) -> ScriptedApi:
    """Home Assistant 2025.4.4. `starting`: how often it answers there as one that has no scripts yet."""
    turned_on: list[Asked] = []
    left = dict(starting)

    def first(path: str, before: Answers, after: Any) -> Any:
        def answer(seen: Asked) -> Answers:
            if left.get(path, 0) > 0:
                left[path] -= 1
                return before
            found: Answers = after(seen) if callable(after) else after
            return found

        return answer

    def turn_on(seen: Asked) -> Answers:
        turned_on.append(seen)
        on = {"entity_id": "script.nap", "state": "on", "attributes": {"last_triggered": BEGAN}}
        return Answers([on])

    def config(state: str) -> Answers:
        return Answers({"config_dir": "/config", "state": state, "version": "2025.4.4"})

    shown = {"entity_id": "script.nap", "state": "completed", "last_triggered": BEGAN, "changed": BEGAN, "result": "ok"}
    flow: dict[str, Route] = {
        "POST /auth/login_flow": Answers({"step_id": "init", "flow_id": "f"}),
        "POST /auth/login_flow/f": Answers({"type": "create_entry", "result": "code"}),
        "POST /auth/token": Answers({"access_token": "t", "refresh_token": "r", "expires_in": 1800}),
    }
    jobs: dict[str, Route] = {
        "GET /api/config": first("config", config("NOT_RUNNING"), config("RUNNING")),
        "GET /api/states/script.nap": Answers({"entity_id": "script.nap", "state": "off"}),
        "POST /api/services/script/turn_on": first(
            "trigger", Answers(status=400, raw=b"400: Bad Request", headers=PLAIN), turn_on
        ),
        "POST /api/template": first(
            "status", Answers(dict.fromkeys(shown) | {"entity_id": "script.nap"}), Answers(shown)
        ),
    }
    return ScriptedApi({**flow, **jobs})


@pytest.mark.parametrize("where", ["config", "trigger", "status"])
def test_a_home_assistant_without_scripts_yet_is_waited_for(tmp_path: Path, where: str) -> None:
    sync = {"type": "script.nap", "params": {"result": "input_text.nap_result"}}
    with home_assistant(starting={where: 4}) as api:
        told = run_at(api, tmp_path, "home-assistant", sync, retry={"connect_patience": "1m"})
    assert told.code == 0, told.errors
    ways = {"config": "/api/config", "trigger": "/api/services/script/turn_on", "status": "/api/template"}
    assert [len(api.at(path)) for path in ways.values()] == [1 + 4 * (where == name) for name in ways]
    failed = [one.error for one in told.named("sync.poll_failed")]
    assert failed == ["status: the API is still starting (200)"] * (where == "status")  # once in a row


MAINTENANCE = Answers(raw=b"<h1>Down for maintenance</h1>", headers=PAGE)
NO_ROUTE = Answers(status=404, raw=b"404 page not found\n", headers=PLAIN)
RUN = {"dag_run_id": "r", "dag_id": "nap", "state": "success"}


def airflow(**instead: Route) -> ScriptedApi:
    """Airflow 3.3.2 whose run ends at once. `instead`: what is answered there."""
    runs = "/api/v2/dags/nap/dagRuns"

    def known(seen: Asked) -> Answers:
        return Answers({**RUN, "dag_run_id": seen.path.rpartition("/")[2]})

    class Api(ScriptedApi):
        def _said(self, seen: Asked) -> Answers:
            if seen.path.startswith(f"{runs}/"):
                self.asked.append(seen)
                route = instead.get("status")
                return route.pop(0) if isinstance(route, list) and route else known(seen)
            return super()._said(seen)

    return Api({
        "POST /auth/token": Answers({"access_token": "t"}, 201),
        "GET /api/v2/dags/nap": instead.get("lookup", Answers({"dag_id": "nap", "is_paused": False})),
        f"GET {runs}": Answers({"dag_runs": []}),
        f"POST {runs}": instead.get("trigger", lambda seen: Answers({**RUN, "state": "queued", "dag_run_id": seen.json["dag_run_id"]})),
    })  # fmt: skip


@pytest.mark.parametrize("page", [MAINTENANCE, NO_ROUTE])
def test_a_lookup_that_a_proxy_answers_is_an_api_that_cannot_be_reached(tmp_path: Path, page: Answers) -> None:
    with airflow(lookup=page) as api:
        told = run_at(api, tmp_path, "airflow", "nap")
    assert told.code == 7, told.errors
    assert "not from the API" in told.errors
    assert not api.at("/api/v2/dags/nap/dagRuns")


@pytest.mark.parametrize("page", [MAINTENANCE, NO_ROUTE])
def test_a_poll_that_a_proxy_answers_is_repeated(tmp_path: Path, page: Answers) -> None:
    with airflow(status=[page, page]) as api:
        told = run_at(api, tmp_path, "airflow", "nap")
    assert told.code == 0, told.errors
    assert len(api.at("/api/v2/dags/nap/dagRuns")) == 1


def test_a_page_is_no_accepted_trigger_though_the_job_has_the_name_that_we_gave_it(tmp_path: Path) -> None:
    missing = Answers({"detail": "The DagRun with dag_id: `nap` and run_id was not found"}, 404)
    began: list[Asked] = []

    def trigger(seen: Asked) -> Answers:
        began.append(seen)
        if len(began) == 1:
            return MAINTENANCE
        return Answers({**RUN, "state": "queued", "dag_run_id": seen.json["dag_run_id"]})

    with airflow(trigger=trigger, status=[missing]) as api:
        told = run_at(api, tmp_path, "airflow", "nap")
    assert told.code == 0, told.errors
    assert [one.json["dag_run_id"] for one in began] == [began[0].json["dag_run_id"]] * 2


def test_a_page_at_flowers_trigger_is_no_task(tmp_path: Path) -> None:
    """Celery calls every id PENDING that it does not know, so that a task that was never sent would be polled for ever."""
    with ScriptedApi({"POST /api/task/async-apply/nap": MAINTENANCE, "GET /api/tasks": Answers({})}) as api:
        told = run_at(api, tmp_path, "flower", "nap", poll={"patience": 0.3}, clock=LinkedClock())
    assert told.code == 8, told.errors
    assert not told.named("sync.triggered")
    assert len(api.at("/api/task/async-apply/nap")) == 1


def test_a_page_at_home_assistants_trigger_is_no_conflict(tmp_path: Path) -> None:
    with home_assistant(starting={}) as api:
        api.routes["POST /api/services/script/turn_on"] = MAINTENANCE
        api.routes["POST /api/template"] = MAINTENANCE
        told = run_at(api, tmp_path, "home-assistant", "script.nap", poll={"patience": 0.3})
    assert told.code == 8, told.errors
    assert len(api.at("/api/services/script/turn_on")) == 1


def test_a_page_is_no_accepted_cancel(tmp_path: Path) -> None:
    with airflow() as api:
        said = api._said

        def always_running(seen: Asked) -> Answers:
            if seen.method == "PATCH":
                api.asked.append(seen)
                return MAINTENANCE
            if "/dagRuns/" in seen.path:
                api.asked.append(seen)
                return Answers({**RUN, "state": "running", "dag_run_id": seen.path.rpartition("/")[2]})
            return said(seen)

        api._said = always_running  # type: ignore[method-assign]
        told = run_at(api, tmp_path, "airflow", "nap", interrupt=signal.SIGTERM)
    assert told.code == 143, told.errors
    assert "cancel: 200 came with an HTML page, not from the API" in told.errors
