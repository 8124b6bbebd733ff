"""An API behind oauth2-proxy with Keycloak: by its cookie and by bearer tokens, judged by Keycloak's events and the API's record."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.gate_server import PROFILE, Gate, JobsApi
from tests.servers.keycloak_server import TOKEN_SECONDS, WRONG_SEED, Keycloak, mounted
from tests.servers.processes import wait_until
from tests.support.command_line import Finished, Running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("gate")]
Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def api(stack: ExitStack) -> JobsApi:
    return JobsApi(stack)


@pytest.fixture
def run_at(start_at: Any) -> Run:
    """Runs a command as a user, behind a gate of that mode, to its end."""

    def run(*words: Any, **options: Any) -> Finished:
        ended: Finished = start_at(*words, **options).finish(patience=240.0)
        return ended

    run.gate = start_at.gate  # type: ignore[attr-defined]
    return run


@pytest.fixture
def start_at(keycloak: Keycloak, api: JobsApi, tmp_path: Path) -> Iterator[Any]:
    """Starts it."""
    with ExitStack() as gates:

        def start(mode: str, user: str, login: Any, *words: str, gate: Gate | None = None, **secrets: str) -> Running:
            gate = gate or Gate(tmp_path, mode, keycloak, api, gates)
            folder = mounted(tmp_path / "secrets", user, **secrets)
            (tmp_path / "jobs.json").write_text(json.dumps(PROFILE))
            settings = {
                "base_url": gate.base_url, "profile": str(tmp_path / "jobs.json"), "login": login,
                "secrets_dir": str(folder), "state": {"dir": str(tmp_path / "state")}, "poll": {"max": "3s"},
            }  # fmt: skip
            config = tmp_path / "config.yaml"
            config.write_text(json.dumps(settings))
            return Running(["--config", str(config), *words], {})

        start.gate = lambda mode: Gate(tmp_path, mode, keycloak, api, gates)  # type: ignore[attr-defined]
        yield start


def by_cookie(keycloak: Keycloak) -> dict[str, Any]:
    return {"use": "oauth2-proxy", "addresses": {"sso": keycloak.base_url}}


def by_token(keycloak: Keycloak) -> dict[str, Any]:
    return {"use": "keycloak", "address": keycloak.base_url, "params": {"realm": "sync"}}


def test_a_job_behind_the_gates_cookie_outlives_its_renewals_with_one_login(
    keycloak: Keycloak, api: JobsApi, run_at: Any
) -> None:
    gate = run_at.gate("cookie")
    login = by_cookie(keycloak)
    ended = run_at("cookie", "guest", login, "run", "x", "--param", "seconds=30", gate=gate)
    assert ended.code == 0, ended.errors
    assert keycloak.events("guest", "LOGIN") == ["LOGIN"]
    assert any("guest@example.org" in headers.get("X-Forwarded-Email", "") for _, headers in api.seen)
    again = run_at("cookie", "guest", login, "login", gate=gate)
    assert (again.code, bool(again.events("session.reused"))) == (0, True)
    cookies = {headers.get("Cookie", "") for _, headers in api.seen if "guest" in headers.get("X-Forwarded-Email", "")}
    assert len(cookies) >= 3, "the gate renewed its cookie, and each newer one was used"


@pytest.mark.parametrize("mode", ["bearer", "page", "strict", "json", "api"])
def test_a_token_opens_the_gate_in_each_of_its_modes(keycloak: Keycloak, api: JobsApi, run_at: Any, mode: str) -> None:
    before = len(api.jobs)
    ended = run_at(mode, "reader", by_token(keycloak), "run", "x")
    assert ended.code == 0, ended.errors
    assert len(api.jobs) == before + 1


@pytest.mark.parametrize("mode", ["bearer", "page", "strict", "json", "api"])
def test_a_token_that_the_gate_finds_no_longer_good_is_made_anew(
    keycloak: Keycloak, api: JobsApi, run_at: Any, tmp_path: Path, mode: str
) -> None:
    gate = run_at.gate(mode)
    assert run_at(mode, "moved", by_token(keycloak), "login", gate=gate).code == 0
    (kept,) = [one for one in (tmp_path / "state").rglob("*.json") if not one.name.startswith("seed-")]
    state = json.loads(kept.read_text())
    header, claims, signature = state["session"]["token"]["access_token"].split(".")
    state["session"]["token"]["access_token"] = f"{header}.{claims}.{signature[:-8]}AAAAAAAA"
    kept.write_text(json.dumps(state))
    ended = run_at(mode, "moved", by_token(keycloak), "run", "x", gate=gate)
    assert ended.code == 0, ended.errors
    assert [one["method"] for one in ended.events("session.started")] == ["refresh"]


def test_the_apis_own_secrets_go_through_the_gate_beside_its_cookie(
    keycloak: Keycloak, api: JobsApi, run_at: Any
) -> None:
    login = [{**by_cookie(keycloak), "gate": True}, {"use": "bearer"}]
    ended = run_at("cookie", "shared", login, "run", "x", api_token="the-apis-own")
    assert ended.code == 0, ended.errors
    assert api.seen[-1][1]["Authorization"] == "Bearer the-apis-own"


def test_a_wrong_password_at_the_gate_is_sent_once(keycloak: Keycloak, run_at: Any) -> None:
    ended = run_at("cookie", "typist", by_cookie(keycloak), "login", password="not this")
    assert (ended.code, keycloak.events("typist")) == (3, ["LOGIN_ERROR:invalid_user_credentials"])


def test_a_wrong_seed_at_the_gate_is_told_as_such_and_locks_nobody(keycloak: Keycloak, run_at: Any) -> None:
    ended = run_at("cookie", "stranger", by_cookie(keycloak), "login", totp_seed=WRONG_SEED)
    assert ended.code == 3
    assert "the one-time code was refused (200)" in ended.errors
    assert not keycloak.locked("stranger")


def test_a_watch_outlives_a_keycloak_that_is_away_when_the_token_ends(
    keycloak: Keycloak, api: JobsApi, start_at: Any
) -> None:
    running = start_at("bearer", "absent", by_token(keycloak), "run", "x", "--param", "seconds=45")
    wait_until(lambda: keycloak.events("absent", "LOGIN"), "the login")
    time.sleep(TOKEN_SECONDS - 15)
    keycloak.stop()
    time.sleep(25)
    keycloak.start()
    ended = running.finish(patience=240.0)
    assert ended.code == 0, ended.stderr
    assert keycloak.events("absent", "LOGIN", "LOGIN_ERROR") == ["LOGIN"]
    assert [one["method"] for one in ended.events("session.failed")][:1] == ["refresh"]
