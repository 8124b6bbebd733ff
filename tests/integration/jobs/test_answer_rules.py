"""What answers about jobs mean by a profile's rules: status, body, header, kind. Judged by what the API was asked."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import profile as profiles
from runner.sandbox.command import write_secrets
from tests.integration.jobs.test_job_promises import _api, _begun, _run, _shown
from tests.support.clock import LinkedClock
from tests.support.in_process import RunOutput, command_here
from tests.support.scripted_api import Answers, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

TRIGGER, CANCEL = "/api/sync/cli/trigger", "/api/sync/cli/cancel"
PLAIN = (("Content-Type", "text/plain; charset=UTF-8"),)
UNKNOWN = Answers(None, 404, PLAIN, b"Unknown task 'nosuch'")


def _with(home: Path, **changes: Any) -> str:
    """The built-in profile with other parts: `errors`, or `trigger` and `status` of `jobs`."""
    text = yaml.safe_load(profiles.locate("garminsync").read_text())
    text["errors"] = {**text.get("errors", {}), **changes.pop("errors", {})}
    for part, more in changes.items():
        text["jobs"][part] |= more
    path = home / "profile.yaml"
    path.write_text(json.dumps(text))
    return str(path)


def _told(home: Path, begins: Route, shows: Route, **changes: Any) -> tuple[RunOutput, ScriptedApi]:
    with _api(begins, shows) as api:
        return _run(api, home, profile=_with(home, **changes)), api


@pytest.mark.parametrize(
    ("answer", "errors", "code"),
    [
        (UNKNOWN, {"settings": {"status": 404, "type": "text/plain", "text": "^Unknown"}}, 2),
        (UNKNOWN, {"settings": [{"status": 400}, {"text": "^Unknown task"}]}, 2),
        (Answers(None, 403, PLAIN, b"Read only mode"), {"permission": {"status": 403, "type": "text/plain"}}, 3),
        (Answers({"code": "NO_RIGHT"}, 404), {"permission": "code == 'NO_RIGHT'"}, 3),
        (Answers(None, 406, (("X-Reason", "bad-word"),)), {"settings": {"header": {"X-Reason": "^bad"}}}, 2),
        (Answers({"code": "BAD"}, 500), {"settings": {"status": 500, "when": "code == 'BAD'"}}, 2),
        (Answers(None, 404, (("Content-Type", "text/html"),), b"<h1>No such</h1>"), {"settings": {"html": "h1"}}, 2),
        (
            Answers({"success": False}, 200, (("X-Error", "quota"),)),
            {"when": {"header": {"X-Error": "."}}, "settings": {"header": {"X-Error": "quota"}}},
            2,
        ),
    ],
)
def test_a_refusal_means_what_a_rule_says_of_it(tmp_path: Path, answer: Answers, errors: Any, code: int) -> None:
    told, api = _told(tmp_path, answer, _shown("completed"), errors=errors)
    assert told.code == code, told.errors
    assert len(api.at(TRIGGER)) == 1
    if answer.raw and not answer.raw.startswith(b"<"):
        assert answer.raw.decode() in told.errors


def test_a_failing_server_is_in_doubt_unless_a_rule_names_its_status(tmp_path: Path) -> None:
    told, api = _told(
        tmp_path, [Answers({"code": "BAD"}, 500), _begun()], _shown("completed"), errors={"settings": "code == 'BAD'"}
    )
    assert told.code == 0
    assert len(api.at(TRIGGER)) == 2  # with one key


def test_a_refusal_in_plain_text_is_shown_without_any_rule(tmp_path: Path) -> None:
    told, _api = _told(tmp_path, Answers(None, 406, PLAIN, b"no such queue\n"), _shown("completed"))
    assert told.code == 9
    assert "the API answered 406: no such queue" in told.errors


def test_the_words_may_stand_in_a_header(tmp_path: Path) -> None:
    answer = Answers({"a": 1}, 400, (("X-Reason", "the day is over"),))
    told, _api = _told(tmp_path, answer, _shown("completed"), errors={"message": {"header": "X-Reason"}})
    assert told.code == 2
    assert "400: the day is over" in told.errors


@pytest.mark.parametrize(
    ("gone", "rule"),
    [
        (Answers(None, 410, PLAIN, b"no such job"), [404, {"status": 410, "text": "^no such job"}]),
        (Answers({"jobs": [], "code": "GONE"}, 200), {"when": "code == 'GONE'"}),
        (Answers(None, 404, (("X-Api", "jobs"),)), {"status": 404, "header": {"X-Api": "jobs"}}),
    ],
)
def test_a_job_is_gone_as_a_rule_says_and_not_before_ten_seconds(tmp_path: Path, gone: Answers, rule: Any) -> None:
    clock = LinkedClock()
    with _api(_begun(), [_shown("running"), gone]) as api:
        profile = _with(tmp_path, status={"missing": rule})
        told = _run(api, tmp_path, profile=profile, clock=clock, poll={"patience": 60})
    assert told.code == 9
    assert "the API does not know job job-1" in told.errors


def test_a_stray_answer_that_a_rule_of_errors_fits_does_not_end_a_poll(tmp_path: Path) -> None:
    """A gate's 404 in plain text, in mid-poll, under a rule that takes any such 404 for a fault of the settings."""
    rule = {"settings": {"status": 404, "type": "text/plain"}}
    shown = [_shown("running"), Answers(None, 404, PLAIN, b"404 page not found"), _shown("completed")]
    told, _api = _told(tmp_path, _begun(), shown, errors=rule)
    assert told.code == 0


def test_a_conflict_is_what_a_rule_says(tmp_path: Path) -> None:
    busy = Answers({"error": "busy", "state": "RUNNING", "job_id": "job-7"}, 400)
    told, api = _told(
        tmp_path, busy, [_shown("running", job="job-7"), _shown("completed", job="job-7")],
        trigger={"conflict": [409, {"status": 400, "when": "state == 'RUNNING'"}]},
    )  # fmt: skip
    assert (told.code, told.outcomes) == (0, ["completed"])
    assert told.result.results[0].adopted
    assert len(api.at(TRIGGER)) == 1


def test_cancel_refuses_an_id_of_which_the_api_says_what_it_says_of_any(tmp_path: Path) -> None:
    profile = _with(tmp_path, status={"unsure": {"status": 200, "when": "jobs[0].status == 'pending'"}})
    with _api(_begun("job-1"), [_shown("pending")]) as api:
        api.routes["POST " + CANCEL] = _shown("cancelled")
        state, command = (
            str(tmp_path / "state"),
            ("--base-url", api.base_url, "--secrets-dir", str(tmp_path / "secrets")),
        )
        options = (*command, "--profile", profile, "--state-dir", state)
        write_secrets(tmp_path / "secrets", {"username": "u", "password": "a pass word"})
        code, _out, err = command_here(["cancel", "nosuch", *options])
        assert code == 2, err
        assert "has started no job nosuch" in err
        assert api.at(CANCEL) == []
