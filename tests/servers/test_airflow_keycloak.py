"""Airflow behind Keycloak with one-time codes, unattended: two logins in a row, judged by both servers' records."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.airflow_keycloak_server import AirflowBehindKeycloak
from tests.servers.keycloak_server import TOKEN_SECONDS, Keycloak, mounted
from tests.servers.processes import wait_until
from tests.support.command_line import Finished, Running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("airflow-keycloak")]
DAG_SECONDS = float(os.environ.get("DAG_SECONDS", "2")) + 2 * TOKEN_SECONDS  # two tokens end while it runs
CONFIG = """\
base_url: {airflow}
profile: airflow
login:
  - {{use: keycloak, address: "{keycloak}", params: {{realm: sync, scope: {scope}}}}}
  - airflow-keycloak
secrets_dir: {secrets}
state: {{dir: {state}}}
syncs:
  - {{type: nap, params: {{conf: {{seconds: {seconds:.0f}}}}}}}
"""
Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, keycloak: Keycloak, stack: ExitStack) -> AirflowBehindKeycloak:
    home = tmp_path_factory.mktemp("airflow")
    return AirflowBehindKeycloak(home, keycloak, stack, pilot="User", watcher="Viewer", courier="User", outsider="User")


@pytest.fixture
def start_as(keycloak: Keycloak, airflow: AirflowBehindKeycloak, tmp_path: Path) -> Callable[..., Running]:
    """Starts a command as one user."""

    def start(
        user: str, *words: str, seconds: float = 1, scope: str = "openid", config: str = CONFIG, **secrets: str
    ) -> Running:
        folder = mounted(tmp_path / "secrets", user, **secrets)
        told = config.format(
            airflow=airflow.base_url,
            keycloak=keycloak.base_url,
            secrets=folder,
            state=tmp_path / "state",
            seconds=seconds,
            scope=scope,
        )
        assert len(told.splitlines()) < 15
        (tmp_path / "config.yaml").write_text(told)
        return Running(["--config", str(tmp_path / "config.yaml"), *words], {})

    return start


@pytest.fixture
def run_as(start_as: Callable[..., Running]) -> Run:
    """Runs it to its end."""
    return lambda *words, **options: start_as(*words, **options).finish(patience=options.get("seconds", 0) + 240.0)


def test_a_dag_that_outlives_its_tokens_costs_one_login_and_one_code(
    keycloak: Keycloak, airflow: AirflowBehindKeycloak, run_as: Run
) -> None:
    ended = run_as("pilot", "run", seconds=DAG_SECONDS)
    assert ended.code == 0, ended.stderr
    assert "completed" in airflow.jobs().values()
    assert keycloak.events("pilot", "LOGIN") == ["LOGIN"]
    assert len(keycloak.events("pilot", "REFRESH_TOKEN")) >= 2
    assert keycloak.events("pilot", "LOGIN_ERROR", "REFRESH_TOKEN_ERROR") == []
    assert keycloak.sessions("pilot") == 1
    assert run_as("pilot", "logout").code == 0
    assert keycloak.sessions("pilot") == 0


def test_a_session_that_an_administrator_ends_in_mid_watch_costs_one_more_login(
    keycloak: Keycloak, airflow: AirflowBehindKeycloak, start_as: Callable[..., Running]
) -> None:
    running = start_as("courier", "run", seconds=45)
    wait_until(lambda: "running" in airflow.jobs().values(), "a run of the DAG", 120)
    keycloak.end_sessions("courier")
    ended = running.finish(patience=240.0)
    assert ended.code == 0, ended.stderr
    assert keycloak.events("courier", "LOGIN") == ["LOGIN", "LOGIN"]
    assert not keycloak.locked("courier")


def test_a_missing_right_is_told_without_a_second_code(
    keycloak: Keycloak, airflow: AirflowBehindKeycloak, run_as: Run
) -> None:
    before = airflow.jobs()
    ended = run_as("watcher", "run")
    assert "403" in ended.errors and "Forbidden" in ended.errors
    assert ended.code == 3, ended.stderr
    assert keycloak.events("watcher", "LOGIN") == ["LOGIN"]
    assert airflow.jobs() == before


def test_a_token_that_airflow_does_not_take_is_no_fault_of_the_user(keycloak: Keycloak, run_as: Run) -> None:
    ended = run_as("outsider", "login", scope="profile")  # Airflow wants `openid`
    assert ended.code == 3
    assert "(403: Invalid Keycloak assertion); password and code were right" in ended.errors
    assert keycloak.events("outsider", "LOGIN", "LOGIN_ERROR") == ["LOGIN"]
    assert not ended.events("login.cooldown")
    # Mended, and tried at once; by force, since Keycloak's session is kept and a refresh keeps its scope.
    assert run_as("outsider", "login", "--force").code == 0


def test_airflows_own_password_grant_is_sent_once_where_it_answers_500(
    keycloak: Keycloak, airflow: AirflowBehindKeycloak, run_as: Run
) -> None:
    own = CONFIG.replace("login:\n", "").replace(
        '  - {{use: keycloak, address: "{keycloak}", params: {{realm: sync, scope: {scope}}}}}\n', ""
    )
    ended = run_as("plain", "login", config=own.replace("  - airflow-keycloak\n", ""), password="not this")
    assert ended.code == 7, ended.stderr
    assert keycloak.events("plain", "LOGIN_ERROR") == ["LOGIN_ERROR:invalid_user_credentials"]
    assert not keycloak.locked("plain")
