"""`profiles new`: a draft from a description or a recording is valid apart from what it marks, and holds no recorded value."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli, yaml_source
from runner import profile as profiles
from runner.errors import UsageError
from runner.profile.drafts import MARK, draft

DESCRIBED = sorted(Path("tests/servers/described").glob("*.yaml"))
SECRETS = ("correct horse", "481516", "tok-abcdef", "athlete@example.org")


def _left_open(text: str) -> list[str]:
    """What validation says of the draft, line by line."""
    try:
        profiles.parse(yaml_source.parse(text.encode(), "draft"))
    except UsageError as error:
        return str(error).splitlines()
    return []


def _har(*entries: tuple[str, str, Any, int, Any]) -> dict[str, Any]:
    def entry(method: str, path: str, asks: Any, status: int, answer: Any) -> dict[str, Any]:
        return {
            "request": {
                "method": method, "url": f"https://api.example.org{path}", "headers": [{"name": "Authorization", "value": "Bearer tok-abcdef"}],
                "postData": {"mimeType": "application/json", "text": json.dumps(asks)} if asks else {},
            },
            "response": {"status": status, "content": {"mimeType": "application/json", "text": json.dumps(answer)}},
        }  # fmt: skip

    return {"log": {"version": "1.2", "entries": [entry(*one) for one in entries]}}


RECORDED = _har(
    (
        "POST",
        "/v1/login",
        {"email": SECRETS[3], "password": SECRETS[0], "otp": SECRETS[1]},
        200,
        {"token": SECRETS[2], "expires_in": 600},
    ),
    (
        "POST",
        "/v1/jobs",
        {"kind": "health", "start_date": "2026-01-01", "depth": 3},
        201,
        {"data": {"id": "j-77", "state": "queued"}},
    ),
    ("GET", "/v1/jobs/j-77", None, 200, {"data": {"id": "j-77", "state": "in_progress", "percent": 10}}),
    ("GET", "/v1/jobs/j-77", None, 200, {"data": {"id": "j-77", "state": "failed", "percent": 20}}),
    ("GET", "/v1/jobs/j-77", None, 200, {"data": {"id": "j-77", "state": "done", "percent": 100}}),
    ("GET", "/v1/jobs", None, 200, {"items": [{"id": "j-77", "state": "done"}]}),
    ("DELETE", "/v1/jobs/j-77", None, 204, None),
)


@pytest.mark.parametrize("file", DESCRIBED, ids=lambda file: file.stem)
def test_a_draft_from_a_description_is_valid_apart_from_what_it_marks(file: Path) -> None:
    text = draft(file)
    faults = _left_open(text)
    assert all(MARK in fault for fault in faults), faults
    assert len(faults) <= 6
    assert all(fault.startswith("draft:") and not fault.startswith("draft:1:") for fault in faults)


def test_the_draft_for_airbyte_is_its_profile_but_for_one_word() -> None:
    text = draft(Path("tests/servers/described/airbyte.yaml"))
    (left,) = _left_open(text)
    assert "incomplete" in left
    ours, theirs = yaml.safe_load(text), yaml.safe_load(profiles.locate("airbyte").read_text(encoding="utf-8"))
    for at in (
        ("trigger", "request", "path"),
        ("status", "request", "path"),
        ("recent", "request", "path"),
        ("cancel", "request", "method"),
    ):
        mine, known = ours["jobs"], theirs["jobs"]
        for key in at:
            mine, known = mine[key], known[key]
        assert mine == known, at


def test_a_recording_gives_a_whole_profile_without_any_value_of_it(tmp_path: Path) -> None:
    (tmp_path / "api.har").write_text(json.dumps(RECORDED), encoding="utf-8")
    text = draft(tmp_path / "api.har")
    assert _left_open(text) == []
    for secret in (*SECRETS, "j-77", "health", "2026-01-01"):
        assert secret not in text
    made = yaml.safe_load(text)
    assert made["auth"]["secrets"] == ["username", "password", "totp_seed"]
    assert made["jobs"]["trigger"]["request"]["json"] == {
        "kind": "${sync_type}", "start_date": "${start_date?}", "depth": "${params.depth?}",
    }  # fmt: skip
    assert made["jobs"]["status"]["request"]["path"] == "/v1/jobs/${job_id}"
    assert made["jobs"]["status"]["job"] == "data"
    assert made["jobs"]["words"] == {
        "pending": ["queued"],
        "running": ["in_progress"],
        "completed": ["done"],
        "failed": ["failed"],
    } or (made["jobs"]["words"]["failed"] == ["failed"])


def test_swagger_2_and_json_are_read(tmp_path: Path) -> None:
    job = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "status": {"type": "string", "enum": ["waiting", "running", "ok", "error"]},
        },
    }
    document = {
        "swagger": "2.0", "info": {"title": "Old", "version": "1"}, "basePath": "/api/",
        "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "definitions": {"Job": job},
        "paths": {
            "/jobs": {"post": {
                "parameters": [{"in": "body", "name": "b", "schema": {"properties": {"type": {"type": "string"}, "note": {"type": "string"}}, "required": ["note"]}}],
                "responses": {"202": {"schema": {"$ref": "#/definitions/Job"}}},
            }},
            "/jobs/{jobId}": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Job"}}}}},
        },
    }  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
    text = draft(tmp_path / "old.json")
    assert _left_open(text) == []
    made = yaml.safe_load(text)
    assert made["auth"] == {"secrets": ["api_token"], "headers": {"X-Key": "${api_token}"}}
    assert made["parameters"] == {"note": {"type": "string", "required": True}}
    assert made["jobs"]["words"]["failed"] == ["error"]
    assert "base_url ends with /api" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: b",
        "{",
        "\x00",
        "openapi: 3.0.0",
        '{"log": {"entries": 3}, "x": ' + "[" * 3000,
        "openapi: 3.1.0\npaths: {/a: {get: {$ref: '#/paths/~1a/get'}}}",
    ],
)
def test_what_is_no_description_is_an_error_or_an_open_draft_and_never_a_defect(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd").write_text(text, encoding="utf-8")
    try:
        faults = _left_open(draft(tmp_path / "odd"))
    except UsageError:
        return
    assert faults
    assert all(MARK in fault for fault in faults)


def test_a_schema_that_holds_itself_ends(tmp_path: Path) -> None:
    node = {
        "properties": {
            "id": {"type": "integer"},
            "status": {"enum": ["queued"]},
            "child": {"$ref": "#/components/schemas/Node"},
        }
    }
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}}
    document = {
        "openapi": "3.0.0",
        "components": {"schemas": {"Node": node}},
        "paths": {"/runs": {"post": {"responses": answer}}, "/runs/{id}": {"get": {"responses": answer}}},
    }
    (tmp_path / "self.json").write_text(json.dumps(document), encoding="utf-8")
    assert all(MARK in fault for fault in _left_open(draft(tmp_path / "self.json")))


def test_the_command_prints_the_draft_and_tells_what_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["profiles", "new", "tests/servers/described/airbyte.yaml"]) == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["version"] == 1
    assert "jobs.words.pending" in said.err
    assert cli.run(["profiles", "new", str(tmp_path / "none")]) == 2


PRIVATE = "hunter2hunter"


def _recorded(url: str, post: dict[str, Any] | None, answer: Any, method: str = "POST", **more: Any) -> dict[str, Any]:
    request = {"method": method, "url": url, "headers": [{"name": "Cookie", "value": f"sid={PRIVATE}-c"}], **more}
    return {
        "request": request | ({"postData": post} if post else {}),
        "response": {"status": 200, "content": {"mimeType": "application/json", "text": json.dumps(answer)}},
    }


JOB = {"id": "j-77", "status": "queued"}
LEAKS: dict[str, dict[str, Any]] = {
    "user and password of the address": _recorded(f"https://bob:{PRIVATE}@api.example/jobs", None, JOB),
    "segment of the path": _recorded(f"https://api.example/bot{PRIVATE}/jobs", None, JOB, headers=[{"name": "X-Key", "value": f"bot{PRIVATE}"}]),
    "random segment of the path": _recorded("https://api.example/9f8e7d6c5b4a/3fa85f64-5717-4562-b3fc-2c963f66afa6/jobs", None, JOB | {"x": PRIVATE}),
    "parameter of a segment": _recorded(f"https://api.example/jobs;jsessionid={PRIVATE}", None, JOB),
    "query": _recorded(f"https://api.example/jobs?token={PRIVATE}", None, JOB),
    "multipart body, as Chromium records it": _recorded(
        "https://api.example/login",
        {"mimeType": "multipart/form-data; boundary=--x", "text": f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\na&{PRIVATE}=1\r\n--x--'},
        {"token": f"{PRIVATE}-t"},
    ),
    "plain body": _recorded("https://api.example/auth/token", {"mimeType": "text/plain", "text": PRIVATE}, {"token": "x"}),
    "key of the body": _recorded("https://api.example/jobs", {"mimeType": "application/json", "text": json.dumps({f"{PRIVATE}@example.org": 1})}, JOB),
    "key of the body that another request sent": _recorded("https://api.example/jobs", {"mimeType": "application/json", "text": json.dumps({"owner": "alicia", "alicia": 1, "x": PRIVATE})}, JOB),
    "key of a response": _recorded("https://api.example/login", None, {f"{PRIVATE}1a1": {"token": "x"}}),
    "status that is a sentence": _recorded("https://api.example/jobs", None, {"id": "j-77", "status": f"running for {PRIVATE}"}),
    "name of a header": _recorded("https://api.example/jobs", None, JOB, headers=[{"name": f"X-{PRIVATE}-Idempotency", "value": PRIVATE}]),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_no_recorded_value_comes_into_a_draft_by_any_part_of_an_exchange(leak: str, tmp_path: Path) -> None:
    entries = [LEAKS[leak], *RECORDED["log"]["entries"]]
    (tmp_path / "api.har").write_text(json.dumps({"log": {"entries": entries}}), encoding="utf-8")
    text = draft(tmp_path / "api.har")
    assert PRIVATE not in text.lower()
    assert all(one not in text for one in ("alicia", "9f8e7d", "3fa85f64"))
    alone = {"log": {"entries": [LEAKS[leak]]}}
    (tmp_path / "alone.har").write_text(json.dumps(alone), encoding="utf-8")
    assert PRIVATE not in draft(tmp_path / "alone.har").lower()


@pytest.mark.parametrize("width", [12, 40])
def test_a_wide_schema_of_schemas_that_hold_each_other_takes_no_time(width: int, tmp_path: Path) -> None:
    refs = {f"p{one}": {"$ref": f"#/components/schemas/N{one % 6}"} for one in range(width)}
    job = {"properties": {"id": {"type": "integer"}, "status": {"enum": ["QUEUED", "DONE"]}, **refs}}
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/N0"}}}}}
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://api.example/{version}", "variables": {"version": {"default": "v2"}}}],
        "components": {"schemas": {f"N{one}": job for one in range(6)}},
        "paths": {"/runs": {"post": {"responses": answer}}, "/runs/{id}": {"get": {"responses": answer}}},
    }
    (tmp_path / "wide.json").write_text(json.dumps(document), encoding="utf-8")
    text = draft(tmp_path / "wide.json")  # without the bound: 12 to the power of 7 values
    made = yaml.safe_load(text)
    assert (made["jobs"]["fields"]["job_id"], made["jobs"]["fields"]["status"]) == ("id", "status")
    assert "base_url ends with /v2" in text


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"openapi": "4.0.0", "paths": {"/jobs": {}}}, "version 4.0.0 of OpenAPI is not read; 2.0, 3.0 and 3.1 are"),
        ({"swagger": "1.2", "apis": []}, "version 1.2"),
        ({"log": {"entries": []}}, "has no exchange with a JSON response"),
        ({"log": {"entries": [{"request": {"url": "http://[x", "method": "GET"}, "response": {"status": 200}}]}}, "no exchange"),
        ({"openapi": "3.0.0", "paths": {"/jobs": {"post": {"parameters": [{"in": "formData", "name": ["x"]}]}}}}, "not as OpenAPI"),
    ],
)  # fmt: skip
def test_a_document_of_another_form_is_refused_with_what_to_do(
    document: dict[str, Any], told: str, tmp_path: Path
) -> None:
    (tmp_path / "odd.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UsageError) as error:
        draft(tmp_path / "odd.json")
    assert told in str(error.value)
