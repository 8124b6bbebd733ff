"""A JSON answer whose end is cut off keeps its whole elements, and never half of one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http import cut_body

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, min_size=1, max_size=8), st.integers(0, 2000), st.booleans())
def test_what_is_left_is_a_beginning_of_the_list(items: list[Any], at: int, ascii_only: bool) -> None:
    whole = json.dumps({"total": {"a": [1]}, "jobs": items, "next": "x"}, ensure_ascii=ascii_only).encode()
    closed = cut_body.closed(whole[:at])
    if closed is None or b'"jobs"' not in closed:
        return
    found = json.loads(closed)["jobs"]
    assert found == items[: len(found)]
    shown = whole[:at].count(b"") and len(json.dumps(items[: len(found) + 2], ensure_ascii=ascii_only).encode())
    assert len(found) == len(items) or at < whole.index(b'"jobs"') + 9 + shown


@pytest.mark.parametrize(
    ("beginning", "closed"),
    [
        (b'[{"a": 1}, {"a": 2}, {"a', b'[{"a": 1}, {"a": 2}]'),
        (b'{"jobs": [{"t": [1, 2]}, {"t": [3, ', b'{"jobs": [{"t": [1, 2]}]}'),
        (b'{"jobs": [1, "a, \\" [b', b'{"jobs": [1]}'),
        (b'{"jobs": [1', None),
        (b'{"a": 1, "b', None),
        (b"", None),
        (b"]]]}", None),
    ],
)
def test_the_last_whole_element_of_the_outermost_list_is_the_end(beginning: bytes, closed: bytes | None) -> None:
    assert cut_body.closed(beginning) == closed


def test_a_text_that_never_ends_takes_no_time() -> None:
    assert cut_body.closed(b'[1, "' + b"\\a" * 500_000) == b"[1]"


def test_values_are_bounded() -> None:
    assert cut_body.within(b"[[],[],[]]", 3) == b"[[]"
    assert cut_body.within(b"[[],[],[]]", 30) == b"[[],[],[]]"
