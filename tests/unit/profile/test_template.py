"""Templates: what is absent takes its key along, or stays as null."""

from typing import Any

import pytest

from runner.profile import template

GIVEN = {"day": "2026-01-01", "count": 3}


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ({"a": "${day}"}, {"a": "2026-01-01"}),
        ({"a": "${count}"}, {"a": 3}),
        ({"a": "${day}T00:00:00Z"}, {"a": "2026-01-01T00:00:00Z"}),
        ({"a": "${none?}", "b": 1}, {"b": 1}),
        ({"a": "${none?}T00:00:00Z", "b": 1}, {"b": 1}),
        ({"a": {"b": "${none?}"}, "c": 1}, {"c": 1}),
        ({"a": "${none?null}", "b": 1}, {"a": None, "b": 1}),
        ({"a": "${none?null}T00:00:00Z", "b": 1}, {"a": None, "b": 1}),
        ({"a": "${day?null}T00:00:00Z"}, {"a": "2026-01-01T00:00:00Z"}),
        ({"a": {"b": "${none?null}"}}, {"a": {"b": None}}),
        (["${none?}", "${none?null}", "${day}"], [None, "2026-01-01"]),
        ({"a": "$${day}"}, {"a": "${day}"}),
    ],
)
def test_a_template_is_filled(written: Any, filled: Any) -> None:
    assert template.fill(written, GIVEN) == filled


def test_a_value_that_must_be_there_is_named_where_it_is_not() -> None:
    with pytest.raises(KeyError, match="none"):
        template.fill({"a": "${none}"}, GIVEN)


@pytest.mark.parametrize("slip", ["${day?nul}", "${day?0}", "$day", "${Day}", "${day"])
def test_a_slip_is_found(slip: str) -> None:
    assert list(template.stray({"a": slip})) == [("a",)]
