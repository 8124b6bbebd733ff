"""Prefect's own server with flows that it really runs, by the built-in profile. Prefect's record is the judge."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.processes import free_port, served
from tests.support.command_line import PATIENCE, Running
from tests.support.recording_proxy import RecordingProxy

HERE = Path(__file__).parent
SECRETS = {"username": "runner", "password": "correct horse"}

pytestmark = pytest.mark.xdist_group("prefect")


class Prefect:
    """A Prefect server that wants a password and runs flows.py, and what it knows of flow runs."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What Prefect's API answers."""
        auth = (SECRETS["username"], SECRETS["password"])
        answer = httpx.request(method, self.base_url + path, json=body or None, auth=auth, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """All runs of that flow."""
        found: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", flows={"name": {"any_": [flow]}})
        return found

    def until(self, flow: str, state: str) -> dict[str, Any]:
        """Wait until the flow has a run in that state."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = [run for run in self.runs(flow) if run["state_type"] == state]
            if found:
                return found[0]
            time.sleep(0.3)
        raise AssertionError(f"no run of {flow} is {state}: {self.runs(flow)}")

    def start(self, home: Path, sync: str, base_url: str | None = None) -> Running:
        """The runner with one sync, written as YAML."""
        (home / "secrets").mkdir()
        for name, secret in SECRETS.items():
            (home / "secrets" / name).write_text(secret)
        config = home / "runner.yaml"
        config.write_text(
            f"profile: prefect\nbase_url: {base_url or self.base_url}\nsecrets_dir: {home / 'secrets'}\n"
            f"state: {{dir: {home / 'state'}}}\npoll: {{min: 500ms}}\nsyncs:\n  - {sync}\n"
        )
        return Running(["--config", str(config), "run", "--report", "-"], {})


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """The server, and beside it the process that runs its flows."""
    place, port = tmp_path_factory.mktemp("prefect"), free_port()
    server = Prefect(f"http://127.0.0.1:{port}/api")
    login = ":".join(SECRETS.values())
    environment = {
        "PREFECT_HOME": str(place), "PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login,
        "PREFECT_API_URL": server.base_url, "PREFECT_RUNNER_POLL_FREQUENCY": "1", "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false", "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    }  # fmt: skip
    asgi = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", str(port)]

    def answers() -> bool:
        try:
            return server.ask("GET", "/health") is True
        except httpx.HTTPError:
            return False

    def deployed() -> bool:
        return len(server.ask("POST", "/deployments/filter")) == 3

    with ExitStack() as stack:
        stack.enter_context(served(*asgi, environment=environment, log=place / "server.log", until=answers))
        stack.enter_context(
            served(HERE / "flows.py", environment=environment, log=place / "flows.log", until=deployed, cwd=HERE)
        )
        yield server


def test_a_flow_run_is_triggered_watched_and_completed(prefect: Prefect, tmp_path: Path) -> None:
    sync = "{type: quick, name: first, params: {parameters: {word: hello}}}"
    ended = prefect.start(tmp_path, sync).finish()
    assert ended.code == 0, ended.stderr
    (run,) = [run for run in prefect.runs("quick") if run["parameters"] == {"word": "hello"}]
    assert run["state_type"] == "COMPLETED"
    assert ended.report["syncs"][0]["job_id"] == run["id"]


def test_sigterm_cancels_the_flow_run(prefect: Prefect, tmp_path: Path) -> None:
    running = prefect.start(tmp_path, "{type: long}")
    prefect.until("long", "RUNNING")
    running.signal(signal.SIGTERM)
    assert running.finish().code == 143
    prefect.until("long", "CANCELLED")
    assert len(prefect.runs("long")) == 1


def test_a_lost_answer_starts_no_second_flow_run_and_a_failure_is_told_in_prefects_words(
    prefect: Prefect, tmp_path: Path
) -> None:
    with RecordingProxy(prefect.base_url, lose="/create_flow_run") as proxy:
        ended = prefect.start(tmp_path, "{type: broken}", proxy.base_url).finish()
    triggers = [seen.status for seen in proxy.exchanges if seen.path.endswith("/create_flow_run")]
    # Made, and told once more by its key. In between Prefect may say 503, that it took nothing: where its SQLite is locked.
    assert [status for status in triggers if status != 503] == [201, 200], triggers
    assert [run["state_type"] for run in prefect.runs("broken")] == ["FAILED"]
    assert ended.code == 4
    assert "there is no data today" in ended.report["syncs"][0]["error"]


def test_a_deployment_that_is_not_there_is_told_by_name(prefect: Prefect, tmp_path: Path) -> None:
    ended = prefect.start(tmp_path, "{type: quick, params: {deployment: nightly}}").finish()
    assert ended.code != 0
    assert "nightly" in ended.errors or "404" in ended.errors
