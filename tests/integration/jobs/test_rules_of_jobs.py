"""What a profile says of answers about jobs: rules by status, body, header and text, values in expressions, carried structures."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import Finished, sync_runner
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

DONE = {"id": "j1", "state": "done"}


def _profile(**jobs: Any) -> dict[str, Any]:
    fields = {
        "job_id": "id", "status": "state", "sync_type": None, "user_id": None, "progress": None, "start_time": "began",
        "end_time": None, "error_message": "why", "total_items": None, "processed_items": None,
    }  # fmt: skip
    errors = jobs.pop("errors", {})
    trigger = {"request": {"method": "POST", "path": "/jobs"}} | jobs.pop("trigger", {})
    status = {"request": {"path": "/jobs/${job_id}"}} | jobs.pop("status", {})
    words = {"pending": "new", "running": "busy", "completed": "done", "failed": "bad", "cancelled": "ended"}
    whole = {"trigger": trigger, "status": status, "fields": fields, "words": words} | jobs
    return {
        "version": 1, "description": "An API", "auth": {"secrets": [], "headers": {}}, "jobs": whole, "errors": errors,
    }  # fmt: skip


def _run(
    home: Path, api: ScriptedApi, profile: dict[str, Any], *more: str, command: tuple[str, ...] = ("run", "nightly")
) -> Finished:
    (home / "own.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return sync_runner(
        "--base-url", api.base_url, "--profile", str(home / "own.yaml"), "--state-dir", str(home / "state"),
        "--set", "poll.min=10ms", "--set", "poll.max=50ms", "--set", "logs.show=none", *more, *command, "--report", "-",
    )  # fmt: skip


def _sent(api: ScriptedApi, method: str, path: str) -> list[Asked]:
    return [one for one in api.asked if (one.method, one.path) == (method, path)]


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ({"status": 200, "when": "length(@) == `0`"}, Answers([])),
        ({"status": 200, "when": "errors[?code == 'BUSY']"}, Answers({"errors": [{"code": "BUSY"}]})),
        ({"status": 303, "header": {"Location": "busy"}}, Answers(None, 303, (("Location", "/busy"),))),
        ({"status": 500, "when": "code == 'BUSY'"}, Answers({"code": "BUSY"}, 500)),
    ],
)
def test_a_conflict_is_told_by_a_rule_and_the_job_that_runs_is_watched(
    rule: Any, answer: Answers, tmp_path: Path
) -> None:
    listed = [{"id": "j1", "state": "busy", "began": None}]
    routes: dict[str, Route] = {"POST /jobs": answer, "GET /jobs": Answers(listed), "GET /jobs/j1": Answers(DONE)}
    profile = _profile(
        trigger={"conflict": [409, rule], "accepted": 200},
        running={"request": {"path": "/jobs"}},
        errors={"when": "errors"},
    )
    with ScriptedApi(routes) as api:
        ended = _run(tmp_path, api, profile)
        assert ended.code == 0, ended.stderr
        assert len(_sent(api, "POST", "/jobs")) == 1


def test_the_job_that_a_conflict_names_in_a_header_is_watched(tmp_path: Path) -> None:
    refused = Answers({"error": "busy"}, 409, (("X-Running-Job", "j1"),))
    with ScriptedApi(
        {"POST /jobs": refused, "GET /jobs/j1": [Answers({"id": "j1", "state": "busy"}), Answers(DONE)]}
    ) as api:
        ended = _run(tmp_path, api, _profile(trigger={"conflict_job_id": {"header": "X-Running-Job"}}))
    assert ended.code == 0, ended.stderr


def test_a_redirect_that_the_rule_means_is_an_answer_and_any_other_is_an_error(tmp_path: Path) -> None:
    trigger = {
        "accepted": [{"status": 303, "header": {"Location": "/jobs/j[0-9]+"}}],
        "job_id": {"header": "Location", "segment": -1},
    }
    for number, (location, code) in enumerate((("/jobs/j1", 0), ("/login", 9))):
        home = tmp_path / str(number)
        home.mkdir()
        begun = Answers(None, 303, (("Location", location),))
        with ScriptedApi({"POST /jobs": begun, "GET /jobs/j1": Answers(DONE)}) as api:
            ended = _run(home, api, _profile(trigger=trigger))
        assert (ended.code == 0) == (code == 0), ended.stderr


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ({"status": 200, "when": "error.code == 'NO_SUCH_JOB'"}, Answers({"error": {"code": "NO_SUCH_JOB"}})),
        ({"status": 403, "when": "errors[?code == 'FORBIDDEN']"}, Answers({"errors": [{"code": "FORBIDDEN"}]}, 403)),
        (
            {"status": 404, "text": "no such job"},
            Answers(raw=b"no such job", status=404, headers=(("Content-Type", "text/plain"),)),
        ),
    ],
)
def test_a_missing_job_is_told_by_a_rule(rule: Any, gone: Answers, tmp_path: Path) -> None:
    routes: dict[str, Route] = {
        "POST /jobs": Answers({"id": "j1"}, 201),
        "GET /jobs/j1": [Answers({"id": "j1", "state": "busy"}), gone],
    }
    with ScriptedApi(routes) as api:
        ended = _run(tmp_path, api, _profile(status={"missing": [rule]}), "--set", "poll.patience=1s")
    assert "does not know job j1" in ended.errors, ended.stderr


def test_a_page_of_a_proxy_is_not_the_apis_word_that_a_job_is_missing(tmp_path: Path) -> None:
    page = Answers(raw=b"<html>404</html>", status=404, headers=(("Content-Type", "text/html"),))
    routes: dict[str, Route] = {"POST /jobs": Answers({"id": "j1"}, 201), "GET /jobs/j1": [page, page, Answers(DONE)]}
    with ScriptedApi(routes) as api:
        ended = _run(tmp_path, api, _profile())
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize(
    ("errors", "answer", "code"),
    [
        ({"permission": [{"status": 405, "text": "read.only"}]}, Answers(raw=b"read-only mode", status=405), 3),
        ({"permission": "code == 'NO_RIGHT'"}, Answers({"code": "NO_RIGHT"}, 409), 3),
        ({"settings": [{"status": 500, "text": "unknown task"}]}, Answers(raw=b"unknown task", status=405), 9),
        ({"settings": [{"status": 418, "text": "unknown task"}]}, Answers(raw=b"unknown task", status=418), 2),
        (
            {"message": {"text": "Reason: (.*)"}, "settings": [{"status": 418, "text": "."}]},
            Answers(raw=b"x\nReason: no disk", status=418),
            2,
        ),
    ],
)
def test_whose_fault_a_refusal_is_can_be_told_by_text(errors: Any, answer: Answers, code: int, tmp_path: Path) -> None:
    plain = Answers(answer.body, answer.status, (("Content-Type", "text/plain"),), answer.raw)
    shown = plain if answer.raw is not None else answer
    with ScriptedApi({"POST /jobs": shown}) as api:
        ended = _run(tmp_path, api, _profile(errors=errors, trigger={"conflict": []}))
    assert ended.code == code, ended.stderr
    if answer.raw is not None:
        assert ("no disk" if b"no disk" in answer.raw else answer.raw.decode()) in ended.errors


def test_expressions_name_values_that_cannot_change_what_they_mean(tmp_path: Path) -> None:
    wild = "night'] | [0] || @[?`true"
    listed = {"all": [{"id": "j0", "state": "bad", "kind": "other"}, {"id": "j1", "state": "done", "kind": wild}]}
    routes: dict[str, Route] = {"POST /jobs": Answers(listed, 201), "GET /jobs": Answers(listed)}
    profile = _profile(
        trigger={"job": "all[?kind == ${sync_type}] | [0]"},
        status={"request": {"path": "/jobs"}, "job": "all[?id == ${job_id} && kind == ${sync_type}] | [0]"},
    )
    with ScriptedApi(routes) as api:
        ended = _run(tmp_path, api, profile, command=("run", wild))
    assert ended.code == 0, ended.stderr
    assert ended.report["syncs"][0]["job_id"] == "j1"


def test_what_a_trigger_carries_keeps_its_form_also_for_the_next_run(tmp_path: Path) -> None:
    receipt = {"queue": [1, 2], "ok": True}
    routes: dict[str, Route] = {
        "POST /jobs": Answers({"id": "j1", "receipt": receipt}, 201), "POST /status": Answers({"id": "j1", "state": "busy"}),
    }  # fmt: skip
    profile = _profile(
        trigger={"carry": {"receipt": "receipt"}},
        status={"request": {"method": "POST", "path": "/status", "json": {"receipt": "${receipt}", "id": "${job_id}"}}},
    )
    with ScriptedApi(routes) as api:
        assert _run(tmp_path, api, profile, "--set", "deadline.sync=10s").code == 6
        api.routes["POST /status"] = Answers(DONE)
        before = len(api.asked)
        ended = _run(tmp_path, api, profile)
        assert ended.code == 0, ended.stderr
        assert api.asked[before].json == {"receipt": receipt, "id": "j1"}


def test_a_job_is_found_by_the_tag_that_holds_our_key_and_no_other_is_taken(tmp_path: Path) -> None:
    keys: list[str] = []

    def lost(asked: Asked) -> Answers:
        keys.append(json.loads(asked.raw)["tag"])
        return Answers(None, 504)

    def tagged(asked: Asked) -> Answers:
        return Answers([{"id": "j7", "state": "busy"}] if asked.query["tag"] == keys else [])

    routes: dict[str, Route] = {
        "POST /jobs": lost, "GET /tagged": tagged, "GET /jobs/j7": Answers({"id": "j7", "state": "done"}),
        "GET /jobs": Answers([{"id": "j8", "state": "busy", "began": None}]),
    }  # fmt: skip
    profile = _profile(
        trigger={"request": {"method": "POST", "path": "/jobs", "json": {"tag": "${idempotency_key}"}}},
        by_key={"request": {"path": "/tagged", "query": {"tag": "${idempotency_key}"}}},
        running={"request": {"path": "/jobs"}},
    )
    with ScriptedApi(routes) as api:
        ended = _run(tmp_path, api, profile)
    assert ended.code == 0, ended.stderr
    assert len(keys) == 1
    assert ended.report["syncs"][0]["job_id"] == "j7"


def test_true_and_false_are_status_words_and_failures_may_never_be_told(tmp_path: Path) -> None:
    profile = _profile(words={"running": True, "completed": False, "failed": []})
    polls: Route = [Answers({"id": "j1", "state": True}), Answers({"id": "j1", "state": False})]
    with ScriptedApi({"POST /jobs": Answers({"id": "j1"}, 201), "GET /jobs/j1": polls}) as api:
        ended = _run(tmp_path, api, profile)
    assert ended.code == 0, ended.stderr


def test_a_cancel_asks_first_for_what_it_needs(tmp_path: Path) -> None:
    routes: dict[str, Route] = {
        "POST /jobs": Answers({"id": "j1"}, 201),
        "GET /jobs/j1": Answers({"id": "j1", "state": "busy", "links": {"stop": "builds/7/stop"}}),
    }

    def stop(_asked: Asked) -> Answers:
        api.routes["GET /jobs/j1"] = Answers({"id": "j1", "state": "ended"})
        return Answers(None, 302, (("Location", "/builds/7"),))

    cancel = {
        "lookups": [{"request": {"path": "/jobs/${job_id}"}, "carry": {"stop": {"body": "links.stop", "path": True}}}],
        "request": {"method": "POST", "path": "/${stop}"}, "accepted": 302, "job": None,
    }  # fmt: skip
    with ScriptedApi(routes) as api:
        api.routes["POST /builds/7/stop"] = stop
        ended = _run(tmp_path, api, _profile(cancel=cancel), "--set", "deadline.sync=10s")
        assert ended.code == 6, ended.stderr
        assert len(_sent(api, "POST", "/builds/7/stop")) == 1
