"""What real servers and the proxies before them answer while they start, stop or are in maintenance, as it was recorded."""

from pathlib import Path
from typing import Any

import pytest

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
