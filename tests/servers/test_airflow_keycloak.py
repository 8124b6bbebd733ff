"""Airflow behind Keycloak with one-time codes, unattended: two logins in a row, judged by both servers' records."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.airflow_keycloak_server import AirflowBehindKeycloak
from tests.servers.keycloak_server import PASSWORD, SEED, TOKEN_SECONDS, Keycloak
from tests.support.command_line import Finished, Running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("keycloak")]
DAG_SECONDS = float(os.environ.get("DAG_SECONDS", "2")) + 2 * TOKEN_SECONDS  # two tokens end while it runs
CONFIG = """\
base_url: {airflow}
profile: airflow
login:
  - {{use: keycloak, address: "{keycloak}", params: {{realm: sync}}}}
  - airflow-keycloak
secrets_dir: {secrets}
state: {{dir: {state}}}
syncs:
  - {{type: nap, params: {{conf: {{seconds: {seconds:.0f}}}}}}}
"""
Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Keycloak:
    return Keycloak(tmp_path_factory.mktemp("keycloak"), stack)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, keycloak: Keycloak, stack: ExitStack) -> AirflowBehindKeycloak:
    home = tmp_path_factory.mktemp("airflow")
    return AirflowBehindKeycloak(home, keycloak, stack, pilot="User", watcher="Viewer", courier="User")


@pytest.fixture
def run_as(keycloak: Keycloak, airflow: AirflowBehindKeycloak, tmp_path: Path) -> Run:
    """Runs a command as one user, to its end."""

    def run(user: str, *words: str, seconds: float = 1, **secrets: str) -> Finished:
        folder = tmp_path / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        known = {
            "username": user, "password": PASSWORD, "totp_seed": SEED, "client_id": "runner", "client_secret": "runner-100%+",
        } | secrets  # fmt: skip
        for name, secret in known.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(secret)
        told = CONFIG.format(
            airflow=airflow.base_url,
            keycloak=keycloak.base_url,
            secrets=folder,
            state=tmp_path / "state",
            seconds=seconds,
        )
        assert len(told.splitlines()) < 15
        (tmp_path / "config.yaml").write_text(told)
        return Running(["--config", str(tmp_path / "config.yaml"), *words], {}).finish(patience=seconds + 240.0)

    return run


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
