"""Addresses of pings, and bodies of webhooks of any size and type."""

import json

import pytest

from runner.outputs.delivery import MAX_BODY
from runner.outputs.ping import ping_url
from runner.outputs.webhook import fill, is_json


@pytest.mark.parametrize(
    ("url", "failure"),
    [
        ("https://hc.example/uuid", "https://hc.example/uuid/fail?rid=7"),
        ("https://hc.example/uuid/", "https://hc.example/uuid/fail?rid=7"),
        ("https://hc.example/key/slug?create=1", "https://hc.example/key/slug/fail?create=1&rid=7"),
        ("https://hc.example?a=b#part", "https://hc.example/fail?a=b&rid=7"),
    ],
)
def test_the_kind_of_a_ping_goes_to_the_path_and_never_into_the_query(url: str, failure: str) -> None:
    assert ping_url(url, "failure", "7") == failure


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+JSON", "text/json"]
)
def test_json_is_known_in_every_spelling(kind: str) -> None:
    assert is_json(kind)


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonish", "text/plain; note=json"])
def test_what_is_not_json_is_not_escaped_as_such(kind: str) -> None:
    assert not is_json(kind)


@pytest.mark.parametrize("text", ["x", '"', "\u20ac", "\x00", "\ud800"])
def test_a_body_over_the_bound_stays_json_because_its_values_are_shortened(text: str) -> None:
    body = fill(
        '{"text": "${text}", "error": "${error}", "code": ${code}}',
        {"text": text * 200_000, "error": text * 90_000, "code": 5},
        as_json=True,
    )
    assert len(body) <= MAX_BODY
    read = json.loads(body)
    assert read["code"] == 5 and read["text"].endswith("…") and read["text"].startswith(text)
