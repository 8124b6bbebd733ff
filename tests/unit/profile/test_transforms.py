"""Rules for answers, and what is done with values before they are used."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ContractError
from runner.http.messages import Response, from_outside
from runner.patterns import bounded
from runner.profile import extraction
from runner.profile.parts import Rule, Source

PAGE = """<html><head><meta name="csrf" content="m1"></head><body><form id="f" method="post" action="go?x=1">
<input type="hidden" name="token" value="t&amp;1"><input name="user"><p class="said"> wrong <b>code</b></p></form></body></html>"""


def response(status: int = 200, body: Any = None, *, text: str = "", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, from_outside(named), body, body is not None, 0.0, 0.0, 0.0, {"sid": "c1"}, text)


def jwt(**claims: Any) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.s"


@pytest.mark.parametrize(
    ("source", "answer", "found"),
    [
        ({"header": "Location", "query": "code"}, response(302, location="https://a/cb?state=s&code=a%20b"), "a b"),
        ({"header": "Location", "query": "code"}, response(302, location="https://a/cb"), None),
        ({"header": "Location", "segment": -1}, response(302, location="https://a/b/c?d"), "c"),
        ({"body": "t", "jwt": "user.id"}, response(200, {"t": jwt(user={"id": "u"})}), "u"),
        ({"body": "t", "pattern": "id=([0-9]+)"}, response(200, {"t": "x id=42;"}), "42"),
        ({"body": "t", "pattern": "[a-z]+"}, response(200, {"t": "12ab"}), "ab"),
        ({"body": "t", "pattern": "z"}, response(200, {"t": "12ab"}), None),
        ({"html": "input[name=token]"}, response(text=PAGE), "t&1"),
        ({"html": "meta[name=csrf]"}, response(text=PAGE), "m1"),
        ({"html": ".said"}, response(text=PAGE), "wrongcode"),
        ({"html": ".none"}, response(text=PAGE), None),
        ({"cookie": "sid"}, response(), "c1"),
    ],
)
def test_a_value_is_found_where_the_source_says(source: dict[str, Any], answer: Response, found: str | None) -> None:
    assert extraction.text(answer, (Source.model_validate(source),)) == found


@pytest.mark.parametrize("token", ["", "a.b", "a.!.c", "a.bm8.c", 7])
def test_what_is_no_jwt_is_an_error_that_names_its_place(token: Any) -> None:
    with pytest.raises(ContractError, match="`t` must be a JWT"):
        extraction.text(response(200, {"t": token}), (Source(body="t", jwt="exp"),))


def test_times_and_lifetimes_have_units() -> None:
    answer = response(
        200, {"ms": 120_000, "at": 1_800_000_000_000, "text": "1800000000500", "token": jwt(exp=1_800_000_000)}
    )
    assert extraction.seconds(answer, (Source(body="ms", unit="ms"),)) == 120
    assert extraction.moment(answer, (Source(body="at", unit="ms"),)) == 1_800_000_000
    assert extraction.moment(answer, (Source(body="text", unit="ms"),)) == 1_800_000_000.5
    assert extraction.moment(answer, (Source(body="token", jwt="exp"),)) == 1_800_000_000


@pytest.mark.parametrize(
    ("rule", "means"),
    [
        ({"status": 403}, True),
        ({"status": [401, 404]}, False),
        ({"status": 403, "when": "detail == 'Forbidden'"}, True),
        ({"status": 403, "when": "detail == 'x'"}, False),
        ({"type": "application/json"}, True),
        ({"type": "text/html"}, False),
        ({"header": {"WWW-Authenticate": "invalid_token"}}, True),
        ({"header": {"WWW-Authenticate": "^invalid_token"}}, False),
        ({"header": {"X-Other": "."}}, False),
    ],
)
def test_a_rule_looks_at_status_body_headers_and_kind(rule: dict[str, Any], means: bool) -> None:
    headers = {"www_authenticate": 'Bearer error="invalid_token"', "content_type": "application/json; charset=utf-8"}
    answer = response(403, {"detail": "Forbidden"}, **headers)
    assert extraction.fits((Rule.model_validate(rule),), answer) is means


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|b*)*", "x**", "(", "a" * 201, "((ab)*c)*", "(a{2,})+", "a*a*a*b", "[]a]*x+y*"]
)
def test_a_pattern_without_a_bound_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression|unlimited time|characters"):
        bounded(pattern)


@given(st.text(alphabet="ab()[]*+?|.{}1,^$\\", max_size=30), st.text(alphabet="ab", min_size=50, max_size=200))
def test_a_pattern_that_is_taken_has_an_end(pattern: str, text: str) -> None:
    try:
        bounded(pattern)
    except ValueError:
        return
    began = time.process_time()
    Source(body="t", pattern=pattern)
    extraction.value(response(200, {"t": text}), (Source(body="t", pattern=pattern),))
    assert time.process_time() - began < 5
