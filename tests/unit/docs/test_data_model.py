"""docs/data-model.md says what the code has: each attribute, the five transitions, the tests that hold the rules."""

import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from runner.models import TRANSITIONS, AuthenticationToken, JobStatus, SyncJob, UserSession
from runner.profile.models import JobFields, SessionFields

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
ENTITIES: dict[str, Any] = {
    "Authentication Token": AuthenticationToken,
    "User Session": UserSession,
    "Sync Job": SyncJob,
}
# As the data model was given.
ATTRIBUTES = {
    "Authentication Token": "token_id user_id access_token token_type expires_in scope created_at last_used_at mfa_verified",
    "User Session": "session_id user_id access_token refresh_token expires_at mfa_enabled created_at last_used_at",
    "Sync Job": "job_id user_id status progress start_time end_time sync_type error_message total_items processed_items",
}


def _rows(heading: str) -> Iterator[list[str]]:
    """The cells of each row of the table below a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith(("| `", "| FR")):
            yield cells


@pytest.mark.parametrize("entity", ENTITIES)
def test_each_attribute_stands_in_the_page_and_in_the_class(entity: str) -> None:
    named = [row[0].strip("`") for row in _rows(entity)]
    assert named == ATTRIBUTES[entity].split()
    kind = ENTITIES[entity]
    known = {field.name for field in fields(kind)} | {
        name for name, value in vars(kind).items() if isinstance(value, property)
    }
    assert {*named} <= known


@pytest.mark.parametrize("entity", ENTITIES)
def test_each_key_of_a_profile_that_the_page_names_exists(entity: str) -> None:
    sections: dict[str, type[BaseModel]] = {"session": SessionFields, "fields": JobFields}
    keys = [match for row in _rows(entity) for match in re.findall(r"`(session|fields)\.(\w+)`", row[3])]
    assert keys
    for section, key in keys:
        assert key in sections[section].model_fields


def test_each_transition_of_the_page_is_allowed_and_no_other_is() -> None:
    told = {(row[0].strip("`"), row[1].strip("`")) for row in _rows("Transitions of a job")}
    assert told == {(before.value, after.value) for before, after in TRANSITIONS}
    assert len(told) == 5
    for before, after in product(JobStatus, JobStatus):
        assert before.reaches(after) == (before is after or _along(before, after, told))


def _along(before: JobStatus, after: JobStatus, steps: set[tuple[str, str]]) -> bool:
    """Whether the steps lead from one state to the other."""
    return any(
        first == before.value and (then == after.value or _along(JobStatus(then), after, steps))
        for first, then in steps
    )


def test_each_rule_names_a_test_that_exists() -> None:
    rules = list(_rows("Validation rules"))
    assert [row[0] for row in rules] == ["FR-005", "FR-007", "FR-008"]
    for row in rules:
        file, _, name = row[2].strip("`").partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text


def test_a_session_is_valid_until_its_end_and_invalid_from_then_on() -> None:
    session = UserSession(AuthenticationToken("id", "token"), expires_at=100.0)
    assert [session.valid_at(now) for now in (99.9, 100.0, 101.0)] == [True, False, False]
    assert UserSession(AuthenticationToken("id", "token")).valid_at(1e12)
