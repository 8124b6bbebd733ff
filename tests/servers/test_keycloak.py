"""The login `keycloak` at a real Keycloak with one-time codes, judged by Keycloak's own events, locks and sessions."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.keycloak_server import SIGNING_KEY, TOKEN_SECONDS, WRONG_SEED, Keycloak, mounted
from tests.support.command_line import Finished, Running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("keycloak")]
RunAs = Callable[..., Finished]


@pytest.fixture
def start_as(keycloak: Keycloak, tmp_path: Path) -> Callable[..., Running]:
    """Starts a command as one user, with `state` as the name of its state directory, "" for none."""

    def start(user: str, *words: str, state: str = "state", use: str = "keycloak", **secrets: str) -> Running:
        folder = mounted(tmp_path / f"secrets-{time.monotonic_ns()}", user, **secrets)
        address = keycloak.base_url
        login = {"use": use, "address": address, "params": {"realm": "sync"}}
        if use.startswith("oauth2-client"):
            login = {
                "use": use,
                "params": {"key_id": "k1"} if "assertion" in use else {},
                "address": f"{address}/realms/sync/protocol/openid-connect",
            }
        if use == "keycloak-browser":
            login["params"] = {"realm": "sync", "client_id": "page"}
        config = folder / "config.yaml"
        kept = {"state": {"dir": str(tmp_path / state)}} if state else {}
        settings = {"base_url": address, "login": login, "secrets_dir": str(folder), **kept}
        settings["retry"] = {"connect_patience": "20s"}
        config.write_text(json.dumps(settings))
        return Running(["--config", str(config), *words], {})

    return start


@pytest.fixture
def run_as(start_as: Callable[..., Running]) -> RunAs:
    """Runs it to its end."""
    return lambda *words, **options: start_as(*words, **options).finish(patience=180.0)


def test_a_session_is_kept_refreshed_and_ended(keycloak: Keycloak, run_as: RunAs) -> None:
    first = run_as("athlete", "login")
    assert (first.code, first.events("session.started")[0]["mfa"]) == (0, True)
    assert run_as("athlete", "login").events("session.reused")
    time.sleep(TOKEN_SECONDS)
    assert run_as("athlete", "login").events("session.started")[0]["method"] == "refresh"
    assert keycloak.events("athlete", "LOGIN") == ["LOGIN"]
    assert keycloak.sessions("athlete") == 1
    assert run_as("athlete", "logout").code == 0
    assert keycloak.sessions("athlete") == 0


def test_a_wrong_password_is_sent_once_a_run_and_locks_nobody(keycloak: Keycloak, run_as: RunAs) -> None:
    for _ in range(3):
        ended = run_as("wrong", "login", password="not this")
        assert ended.code == 3
    assert keycloak.events("wrong") == ["LOGIN_ERROR:invalid_user_credentials"]
    for state in ("none", "neither"):
        ended = run_as("wrong", "login", state=state, password="not this")
        assert "the password or the one-time code was refused (400: Invalid user credentials)" in ended.errors
    assert keycloak.events("wrong") == ["LOGIN_ERROR:invalid_user_credentials"] * 3
    assert not keycloak.locked("wrong")
    assert run_as("wrong", "login").code == 0  # mended, and tried at once


def test_a_runner_without_memory_sends_no_code_that_its_predecessor_used(keycloak: Keycloak, run_as: RunAs) -> None:
    assert run_as("twice", "login", state="one").code == 0
    assert run_as("twice", "login", state="two").code == 0
    assert keycloak.events("twice", "LOGIN") == ["LOGIN", "LOGIN"]


def test_two_runners_with_one_state_log_in_once(keycloak: Keycloak, start_as: Callable[..., Running]) -> None:
    both = [start_as("shared", "login") for _ in range(2)]
    assert [one.finish(patience=180.0).code for one in both] == [0, 0]
    assert keycloak.events("shared", "LOGIN") == ["LOGIN"]


def test_a_session_that_an_administrator_ended_is_followed_by_a_login(keycloak: Keycloak, run_as: RunAs) -> None:
    assert run_as("moved", "login").code == 0
    keycloak.end_sessions("moved")
    time.sleep(TOKEN_SECONDS)
    ended = run_as("moved", "login")
    assert [one["method"] for one in ended.events("session.started")] == ["login"]
    assert keycloak.events("moved", "LOGIN") == ["LOGIN", "LOGIN"]


def test_a_wrong_seed_is_refused_once_a_run_locks_nobody_and_is_mended_at_once(
    keycloak: Keycloak, run_as: RunAs
) -> None:
    for _ in range(2):
        ended = run_as("seed", "login", totp_seed=WRONG_SEED)
        assert ended.code == 3
    assert keycloak.events("seed") == ["LOGIN_ERROR:invalid_user_credentials"]
    assert not keycloak.locked("seed")
    assert run_as("seed", "login").code == 0


def test_two_runners_without_a_common_state_lock_nobody(keycloak: Keycloak, start_as: Callable[..., Running]) -> None:
    """Keycloak refuses one of two logins of a user at the same moment, in the words for a wrong password."""
    both = [start_as("crowd", "login", state=state) for state in ("one", "other")]
    ended = [one.finish(patience=180.0) for one in both]
    assert sorted(one.code for one in ended) in ([0, 0], [0, 3])
    for one in ended:
        assert one.code == 0 or "whether this user had another login at the same time" in one.errors
    assert keycloak.events("crowd", "LOGIN").count("LOGIN") == len([one for one in ended if one.code == 0])
    assert not keycloak.locked("crowd")


def test_a_server_that_is_away_costs_neither_a_code_nor_a_session(
    keycloak: Keycloak, run_as: RunAs, start_as: Callable[..., Running]
) -> None:
    assert run_as("boot", "login", state="boot").code == 0
    keycloak.stop()
    try:
        refused = start_as("down", "login", state="down")
        time.sleep(TOKEN_SECONDS)
        over = run_as("boot", "login", state="boot")
        ended = refused.finish(patience=180.0)
    finally:
        keycloak.start()
    assert (ended.code, over.code) == (7, 7), ended.errors + over.errors
    assert run_as("down", "login", state="down").code == 0
    assert keycloak.events("down", "LOGIN", "LOGIN_ERROR") == ["LOGIN"]
    again = run_as("boot", "login", state="boot")
    assert [one["method"] for one in again.events("session.started")] == ["refresh"]
    assert (keycloak.events("boot", "LOGIN"), keycloak.sessions("boot")) == (["LOGIN"], 1)


def test_the_end_of_a_session_that_is_over_already_is_no_error(keycloak: Keycloak, run_as: RunAs) -> None:
    assert run_as("visitor", "login", state="over").code == 0
    keycloak.end_sessions("visitor")
    ended = run_as("visitor", "logout", state="over")
    assert ended.code == 0, ended.errors


def test_a_command_that_keeps_nothing_leaves_no_session_open(keycloak: Keycloak, run_as: RunAs) -> None:
    ended = run_as("waiter", "check", state="")
    assert [one["method"] for one in ended.events("session.started")] == ["login"]
    assert keycloak.sessions("waiter") == 0
    assert keycloak.events("waiter", "LOGOUT") == ["LOGOUT"]


@pytest.mark.parametrize(
    ("user", "secrets", "told"),
    [
        ("visitor", {"client_secret": "wrong"}, "the client was refused, not the user (401: Invalid client or Invalid"),
        (
            "visitor",
            {"client_id": "no-direct", "client_secret": "no-direct-100%+"},
            "(400: Client not allowed for direct",
        ),
        ("leaver", {}, "the API refuses the account (400: Account disabled)"),
        ("novice", {}, "the API refuses the account (400: Account is not fully set up)"),
    ],
)
def test_a_refusal_is_told_by_its_cause(
    keycloak: Keycloak, run_as: RunAs, user: str, secrets: dict[str, str], told: str
) -> None:
    ended = run_as(user, "login", **secrets)
    assert ended.code == 3
    assert told in ended.errors
    if user == "visitor":
        assert keycloak.events(user, "LOGIN_ERROR") == []  # nothing was counted against the user
        assert not ended.events("login.cooldown")


def test_a_user_without_a_second_factor_needs_no_seed(keycloak: Keycloak, run_as: RunAs, tmp_path: Path) -> None:
    assert run_as("plain", "login").code == 0
    assert keycloak.events("plain") == ["LOGIN"]


def test_a_client_logs_in_for_itself(run_as: RunAs) -> None:
    ended = run_as(
        "-", "login", use="oauth2-client-credentials", client_id="machine", client_secret="machine-100%+"
    )  # fmt: skip
    assert ended.code == 0
    assert ended.events("session.started")[0]["mfa"] is False


def test_the_sign_in_page_is_filled_in_and_the_session_kept_refreshed_and_ended(
    keycloak: Keycloak, run_as: RunAs
) -> None:
    page = {"use": "keycloak-browser"}
    first = run_as("reader", "login", **page)
    assert (first.code, first.events("session.started")[0]["mfa"]) == (0, True), first.errors
    assert run_as("reader", "login", **page).events("session.reused")
    time.sleep(TOKEN_SECONDS)
    assert run_as("reader", "login", **page).events("session.started")[0]["method"] == "refresh"
    assert keycloak.events("reader", "LOGIN") == ["LOGIN"]
    assert keycloak.sessions("reader") == 1
    assert run_as("reader", "logout", **page).code == 0
    assert keycloak.sessions("reader") == 0


def test_what_the_sign_in_page_refuses_is_told_by_its_cause_and_sent_once(keycloak: Keycloak, run_as: RunAs) -> None:
    ended = run_as("typist", "login", use="keycloak-browser", password="not this")
    assert (ended.code, keycloak.events("typist")) == (3, ["LOGIN_ERROR:invalid_user_credentials"])
    assert "the username or password was refused (200)" in ended.errors
    time.sleep(2)
    ended = run_as("typist", "login", use="keycloak-browser", totp_seed=WRONG_SEED, state="other")
    assert ended.code == 3
    assert "the one-time code was refused (200)" in ended.errors
    assert not keycloak.locked("typist")
    ended = run_as("novice", "login", use="keycloak-browser", state="third")
    assert (ended.code, "the API refuses the account" in ended.errors) == (3, True)


def test_a_client_that_signs_logs_in_with_a_new_assertion_each_time(run_as: RunAs) -> None:
    for _ in range(2):
        secrets = {"client_id": "signer", "client_key": SIGNING_KEY}
        ended = run_as("-", "login", "--force", use="oauth2-client-assertion", **secrets)
        assert ended.code == 0, ended.errors
    ended = run_as("-", "login", "--force", use="oauth2-client-assertion", client_id="machine", client_key=SIGNING_KEY)
    assert (ended.code, "the client was refused, not the user" in ended.errors) == (3, True)
