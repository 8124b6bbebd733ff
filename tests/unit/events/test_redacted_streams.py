"""A secret that is also one of our words, or part of a line's structure, is hidden without breaking the line."""

import io
import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.events.events import ALL, LoggedIn, RunFailed, SyncEnded
from runner.events.observer import Event, Record
from runner.events.redaction import RedactedStream, Redactor
from runner.external import HIDDEN
from runner.models import JobStatus, Outcome
from runner.outputs.log_lines import OURS
from tests.support.outputs import json_log

CONTEXT = {"run_id": "0b5e-run", "account": "default", "sync": "health", "sync_type": "health"}
KEYS = sorted({"timestamp", "level", "event", *CONTEXT, *(field.name for kind in ALL for field in fields(kind))})
# Passwords that a person may well have, each of them one of our words or a piece of JSON.
WORDS = [
    *KEYS, *Outcome, *JobStatus, *(kind.name for kind in ALL), "info", "true", "null", "1", "1234", "2023", '": "', '", "',
    "\\u00", '{"le', "00:00", "0000",
]  # fmt: skip


def redactor(*secrets: str) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


def line(event: Event, secret: str) -> dict[str, object]:
    """The event's log line, read, in a run that knows the secret."""
    written: list[str] = []
    log = json_log(written.append, secrets=[secret])
    log.take(Record(1_700_000_000.0, event, CONTEXT))
    [text] = written
    assert text.endswith("}\n") and text.count("\n") == 1
    read: dict[str, object] = json.loads(text)
    return read


@settings(deadline=None)  # the first example imports structlog
@given(st.sampled_from(WORDS) | st.text(min_size=1), st.text())
def test_a_log_line_stays_whole_and_keeps_our_own_words_whatever_the_secret_is(secret: str, context: str) -> None:
    said = f"{context} {secret} {context}"
    event = SyncEnded("completed", 1234.0, 1, secret, said, 1234, 1234)
    read = line(event, secret)
    plain = line(event, "")
    assert list(read) == list(plain)
    for key, value in plain.items():
        if not isinstance(value, str) or key in OURS:
            assert read[key] == value, key
    if len(secret) >= 4:
        assert read["job_id"] == HIDDEN
        assert secret not in str(read["error"]) or secret in context + HIDDEN + context


def test_every_text_of_an_event_is_ours_or_cleaned() -> None:
    """A new field that others fill is cleaned without anybody thinking of it; only these stand in OURS' place."""
    texts = {field.name for kind in ALL for field in fields(kind) if "str" in str(field.type)}
    assert texts - OURS == {"error", "job_id", "line", "path", "problem", "warning"}


@pytest.mark.parametrize("secret", WORDS)
def test_lines_of_json_on_standard_output_keep_their_keys(secret: str) -> None:
    stream = io.StringIO()
    guarded = RedactedStream(stream, redactor(secret))
    rows: list[dict[str, object]] = [
        {"job_id": "7", "status": f"a {secret} b", "level": ["x", secret, None, 1234]},
        {"event": "plain"},
    ]
    guarded.writelines(json.dumps(row) + "\n" for row in rows)
    guarded.flush()
    read: list[dict[str, object]] = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [row.keys() for row in read] == [row.keys() for row in rows]
    if len(secret) >= 4:
        assert read[0]["status"] == f"a {HIDDEN} b" and read[0]["level"] == ["x", HIDDEN, None, 1234]


def test_a_secret_in_json_within_json_is_found_too() -> None:
    stream = io.StringIO()
    guarded = RedactedStream(stream, redactor('pä"ss\\word'))
    guarded.write(json.dumps({"error": json.dumps({"password": 'pä"ss\\word'})}) + "\n")
    assert json.loads(json.loads(stream.getvalue())["error"]) == {"password": HIDDEN}


def test_a_secret_split_over_writes_and_lines_that_only_look_like_json_are_caught() -> None:
    stream = io.StringIO()
    guarded = RedactedStream(stream, redactor("canary-secret"))
    for part in ("{no json canary-", "secret\nand can", "ary-secret"):
        guarded.write(part)
    guarded.flush()
    assert stream.getvalue() == f"{{no json {HIDDEN}\nand {HIDDEN}"


def test_what_a_run_says_of_itself_is_readable_where_the_password_is_the_word_for_it() -> None:
    assert line(RunFailed(3, "the password was refused"), "level")["level"] == "error"
    assert line(LoggedIn("login", False, 0.1), "login")["method"] == "login"
