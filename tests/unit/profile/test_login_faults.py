"""What `profiles validate` finds in a login without the server: one line for each mistake, with its key and what to do."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runner import profile as profiles
from runner.errors import UsageError
from runner.profile.loading import LOGINS, load_login


def changed(tmp_path: Path, change: dict[str, Any], name: str = "keycloak-browser") -> str:
    """The file of a built-in login with keys of `change` (dotted) set anew, or taken away by None."""
    login = yaml.safe_load((LOGINS / f"{name}.yaml").read_text(encoding="utf-8"))
    for key, value in change.items():
        *way, last = key.split(".")
        part = login["auth"]
        for step in way:
            part = part[int(step)] if isinstance(part, list) else part[step]
        part[int(last) if isinstance(part, list) else last] = value
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(login, sort_keys=False), encoding="utf-8")
    return str(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps.password.request.submit": "input[["}, "auth.steps.password.request.submit: `input[[` is not a usable CSS selector"),
        ({"steps.page.answers.2.html": "a[["}, "auth.steps.page.answers.2.html: `a[[` is not a usable CSS selector"),
        ({"steps.page.answers.2.html": "a[name=${nothing}]"}, "html: unknown value `nothing`; known here: account"),
        ({"steps.password.request.path": "/x"}, "auth.steps.password.request: give either `path` or `submit`"),
        ({"steps.password.request.query": {"a": "1"}}, "request: `submit` allows only `form` and `headers`"),
        (
            {"steps.page.request": {"submit": "form"}},
            "auth.steps.page.request.submit: the first step has no page yet; start with a `path`",
        ),
        ({"steps.page.answers.0.match": {"random.stat": {"query": "s", "header": "Location"}}}, "unknown value `random.stat`"),
        ({"steps.page.answers.0.match": {"random.state": {"value": "x"}}}, "unknown value `x`"),
        ({"steps.page.answers.0.header": {"Location": "(a+)+"}}, "may take unlimited time"),
        ({"steps.page.answers.1.text": "(a"}, "text: not a regular expression"),
        ({"steps.token.answers.1.when": "error == ${nothing}"}, "when: unknown value `nothing`"),
        ({"steps.token.answers.1.when": "error == '${params.realm}'"}, "a value in an expression has no quotes"),
        ({"session.access_token": None}, "auth.session.access_token: is required, unless"),
        ({"steps.page.answers.0.carry": {"cookies": "x"}}, "`cookies` already has a meaning"),
        ({"steps.page.answers.0.carry": {"x": {"cookie": "a", "html": "b"}}}, "or one of `body`, `header`, `cookie`"),
        ({"session.expires_at": {"cookie_expires": "a"}, "cookies": False}, "`cookie_expires` needs `cookies: true`"),
        ({"steps.page.answers.0.then": "tokens"}, "`tokens` is neither a step nor an end"),
        ({"expired": [{"status": 403, "kind": "x"}]}, "expired.0.kind: no such key here"),
        ({"steps.page.request.headers": {"X": "${params.none}"}}, "unknown value `params.none`"),
        ({"steps.password.request.form": {"${params.none}": "x"}}, "unknown value `params.none`"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_when_the_file_is_read(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    if change.get("session.access_token", "") is None:
        change = {**change, "cookies": False}
    with pytest.raises(UsageError) as caught:
        load_login(changed(tmp_path, change))
    assert told in str(caught.value)


def test_a_login_whose_session_is_in_its_cookies_needs_no_token(tmp_path: Path) -> None:
    assert load_login(changed(tmp_path, {"session": {}, "refresh": None})).auth.session is not None


JOBS = {
    "trigger": {"request": {"method": "POST", "path": "/jobs", "query": {"count": "${params.count?}"}}},
    "status": {"request": {"path": "/jobs/${job_id}"}},
    "fields": {"job_id": "id"},
}


def written(tmp_path: Path, **keys: Any) -> str:
    """A profile with those keys beside its jobs."""
    whole = {"version": 1, "description": "own", "jobs": JOBS, **keys}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return str(tmp_path / "own.yaml")


def test_a_profile_names_the_login_that_its_api_usually_has(tmp_path: Path) -> None:
    loaded = profiles.load(written(tmp_path, login="keycloak", parameters={"count": {"type": "integer"}}))
    assert loaded.auth == load_login("keycloak").auth
    assert loaded.parameters.keys() == {"realm", "scope", "count"}
    whole = yaml.safe_load((tmp_path / "own.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(profiles.schema()).validate(whole)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"login": "keycloack"}, "login `keycloack`: neither a built-in login"),
        ({"login": "n8n", "auth": {"secrets": [], "headers": {}}}, "login: give either `auth` or `login`"),
        ({}, "auth: is required"),
        ({"login": ["n8n"]}, "login: "),
        ({"login": "n8n", "parameters": []}, "parameters: "),
    ],
)
def test_a_login_that_a_profile_cannot_have_is_told_with_its_line(
    tmp_path: Path, keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.load(written(tmp_path, **keys))
    assert told in str(caught.value)
    assert "own.yaml:" in str(caught.value)
