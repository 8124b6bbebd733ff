"""A known secret goes in every form that it may be written in; what a line of JSON keeps is in test_observe_redact."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.events.redaction import Redactor

SECRET = "geh\"e'im\\ ü+/%€"
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


def _redactor(*secrets: str) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_a_secret_goes_in_every_form(form: str) -> None:
    assert _redactor("other", SECRET).redact(f"before {form} after {form}") == "before *** after ***"


@given(TEXT.filter(lambda text: len(text) >= 7), st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_goes_where_it_is_part_of_what_was_encoded(secret: str, before: bytes, after: bytes) -> None:
    whole = base64.b64encode(before + secret.encode() + after).decode()
    left = _redactor(secret).redact(whole).split("***")
    assert len(left) >= 2
    assert sum(map(len, left)) <= 4 * (len(before) + len(after) + 4) // 3 + 4


@given(st.lists(TEXT, min_size=1), TEXT, TEXT)
def test_no_secret_is_left_whichever_others_are_known(secrets: list[str], before: str, after: str) -> None:
    redactor = _redactor(*secrets)
    for secret in secrets:
        assert len(secret) < 4 or secret not in redactor.redact(f"{before} {secret} {after}").replace("***", "\0")


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert _redactor("geheim", "geheimnis").redact("geheimnis geheim") == "*** ***"
    assert _redactor("geheimnis", "geheim").redact("geheimnis geheim") == "*** ***"


def test_secrets_too_short_to_tell_from_words_are_left() -> None:
    assert _redactor("abc").redact("abc") == "abc"


def test_a_token_that_is_no_text_is_hidden_too() -> None:
    assert _redactor("tok\ud800en").redact("a tok\ud800en") == "a ***"
