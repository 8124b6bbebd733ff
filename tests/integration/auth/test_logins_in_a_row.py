"""Several logins in a row, over real sockets: a line for each in `check` and `status`, each session ended at its own server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Finished, sync_runner
from tests.support.scripted_api import Answers, Asked, ScriptedApi

EXCHANGE = {
    "version": 1,
    "description": "the API's own token for the sign-on's",
    "auth": {
        "secrets": [],
        "steps": {
            "exchange": {
                "request": {"method": "POST", "path": "/exchange", "json": {"assertion": "${previous.access_token}"}},
                "answers": [{"status": 200, "then": "done"}, {"status": 403, "then": "refused", "cause": "token"}],
            }
        },
        "session": {"access_token": "token"},
        "revoke": {"request": {"method": "POST", "path": "/leave", "json": {"token": "${access_token}"}}},
    },
}
PROFILE = {
    "version": 1, "description": "jobs", "auth": {"secrets": [], "headers": {}},
    "jobs": {
        "trigger": {"request": {"method": "POST", "path": "/jobs"}}, "status": {"request": {"path": "/jobs/${job_id}"}},
        "running": {"request": {"path": "/jobs"}},
    },
}  # fmt: skip


class Place:
    """A sign-on like Keycloak, an API behind an exchange, and a runner beside them."""

    def __init__(self, home: Path, sso: ScriptedApi, api: ScriptedApi) -> None:
        self.home, self.sso, self.api = home, sso, api
        secrets = home / "secrets"
        secrets.mkdir(mode=0o700)
        known = {
            "username": "me",
            "password": "geheim",
            "client_id": "runner",
            "client_secret": "s3",
        }
        for name, secret in known.items():
            (secrets / name).write_text(secret)
            (secrets / name).chmod(0o600)
        for name, document in (("exchange", EXCHANGE), ("jobs", PROFILE)):
            (home / f"{name}.json").write_text(json.dumps(document))

    def run(self, *words: str, keep: bool = True) -> Finished:
        settings: dict[str, Any] = {
            "base_url": self.api.base_url, "profile": str(self.home / "jobs.json"), "syncs": [{"type": "x"}],
            "login": [
                {"use": "keycloak", "address": self.sso.base_url, "params": {"realm": "sync"}},
                str(self.home / "exchange.json"),
            ],
            "secrets_dir": str(self.home / "secrets"),
            **({"state": {"dir": str(self.home / "state")}} if keep else {}),
        }  # fmt: skip
        (self.home / "config.json").write_text(json.dumps(settings))
        return sync_runner("--config", str(self.home / "config.json"), *words)

    @property
    def ended(self) -> list[str]:
        """Where sessions were ended, in order."""
        return [
            one.path.rsplit("/", 1)[-1]
            for part in (self.api, self.sso)
            for one in part.asked
            if one.path.endswith(ENDS)
        ]


ENDS = ("/leave", "/logout")
TOKEN = "/realms/sync/protocol/openid-connect/token"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    def grant(asked: Asked) -> Answers:
        number = len([one for one in sso.asked if one.path == TOKEN])
        return Answers({"access_token": f"kc-{number}", "refresh_token": f"r-{number}", "expires_in": 300})

    def done(asked: Asked) -> Answers:
        return Answers({"job_id": "1", "status": "completed"} if asked.headers["Authorization"] else None)

    sso = ScriptedApi({f"POST {TOKEN}": grant, "POST /realms/sync/protocol/openid-connect/logout": Answers(status=204)})
    api = ScriptedApi(
        {
            "POST /exchange": Answers({"token": "own-1"}), "POST /leave": Answers(status=204), "POST /jobs": done,
            "GET /jobs/1": done, "GET /jobs": Answers([]),
        }
    )  # fmt: skip
    with sso, api:
        yield Place(tmp_path, sso, api)


def rows(ended: Finished) -> dict[str, tuple[str, str]]:
    return {row["part"]: (row["result"], row["detail"]) for row in json.loads(ended.stdout)["checks"]}


def test_check_has_a_line_for_each_login(place: Place) -> None:
    first = rows(place.run("check", "--json"))
    assert first["login keycloak"][0] == "ok" and first["login keycloak"][1].startswith(
        "logged in, without a one-time code; "
    )
    assert first["login exchange"][0] == "ok" and first["login exchange"][1].startswith(
        "logged in, without a one-time code; "
    )
    again = rows(place.run("check", "--json"))
    assert {again["login keycloak"], again["login exchange"]} == {
        ("ok", "the stored session is valid; the API's clock shows no difference from ours")
    }
    offline = rows(place.run("check", "--json", "--no-login"))
    assert offline["login keycloak"] == offline["login exchange"] == ("not tried", "--no-login")


def test_check_names_the_login_that_fails(place: Place) -> None:
    place.api.routes["POST /exchange"] = Answers({"message": "not for you"}, status=403)
    told = rows(place.run("check", "--json"))
    assert told["login keycloak"][0] == "ok"
    assert told["login exchange"][0] == "failed"
    assert "(403: not for you)" in told["login exchange"][1]
    place.run("logout")
    place.sso.routes[f"POST {TOKEN}"] = Answers(
        {"error": "invalid_grant", "error_description": "Invalid user credentials"}, status=400
    )
    told = rows(place.run("check", "--json"))
    assert told["login keycloak"][0] == "failed"
    assert told["login exchange"] == ("not tried", "the previous login failed")
    assert "cool-down keycloak" in rows(place.run("check", "--json"))


def test_status_has_each_session_and_no_token(place: Place) -> None:
    for words in (("status",), ("status", "--offline")):
        ended = place.run(*words, "--json")
        (account,) = json.loads(ended.stdout)["accounts"]
        assert [one["login"] for one in account["logins"]] == ["keycloak", "exchange"]
        assert all(one["user_session"]["session_id"] for one in account["logins"])
        assert account["user_session"] == account["logins"][1]["user_session"]
        table = place.run(*words).stdout
        assert "  login keycloak: session_id=" in table
        assert not [secret for secret in ("kc-1", "r-1", "own-1") if secret in ended.stdout + table]


def test_logout_ends_each_session_at_its_server_though_one_refuses(place: Place) -> None:
    assert place.run("login").code == 0
    place.api.routes["POST /leave"] = Answers({"message": "no"}, status=403)
    ended = place.run("logout")
    assert (ended.code, place.ended) == (9, ["leave", "logout"])
    assert "revoke: the API answered 403" in ended.errors
    (account,) = json.loads(place.run("status", "--offline", "--json").stdout)["accounts"]
    assert [one["user_session"] for one in account["logins"]] == [None, None]


@pytest.mark.parametrize("words", [("run", "x"), ("check",), ("status",)])
def test_a_run_that_keeps_nothing_leaves_no_session_open(place: Place, words: tuple[str, ...]) -> None:
    ended = place.run(*words, keep=False)
    assert (ended.code, place.ended) == (0, ["leave", "logout"]), ended.stderr
    assert place.sso.asked[-1].form == {"refresh_token": "r-1"}


def test_a_run_that_keeps_its_sessions_ends_none(place: Place) -> None:
    assert place.run("run", "x").code == 0
    assert place.ended == []


def test_a_server_that_does_not_end_a_session_costs_the_run_nothing(place: Place) -> None:
    place.api.routes["POST /leave"] = Answers(status=500)
    ended = place.run("run", "x", keep=False)
    assert ended.code == 0
    assert [one["method"] for one in ended.events("session.failed")] == ["logout"]
    assert place.ended[-1] == "logout"


def test_a_login_that_fails_half_way_leaves_no_session_open(place: Place) -> None:
    place.api.routes["POST /exchange"] = Answers({"message": "not for you"}, status=403)
    ended = place.run("run", "x", keep=False)
    assert (ended.code, place.ended) == (3, ["logout"])
    assert len([one for one in place.sso.asked if one.path == TOKEN]) == 1


def test_a_refusal_without_kept_state_says_what_the_next_run_will_do(place: Place) -> None:
    said = {"error": "invalid_grant", "error_description": "Invalid user credentials"}
    place.sso.routes[f"POST {TOKEN}"] = Answers(said, status=400)
    assert "no state is kept between runs" in place.run("check", "--json", keep=False).stdout
    assert "no state is kept between runs" not in place.run("check", "--json").stdout
