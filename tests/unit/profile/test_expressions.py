"""Expressions of profiles: plain paths, walked without jmespath, find what jmespath finds."""

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ContractError
from runner.profile.expressions import checked, find

NAMES = st.sampled_from(["a", "b", "_c", "id"])
PATHS = st.builds(
    lambda first, more: first + "".join(more),
    NAMES,
    st.lists(
        st.one_of(NAMES.map(lambda name: f".{name}"), st.integers(0, 2).map(lambda index: f"[{index}]")), max_size=4
    ),
) | st.just("@")
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(PATHS, ANSWERS)
def test_a_plain_path_finds_what_jmespath_finds(path: str, answer: object) -> None:
    assert checked(path) == path
    assert find(answer, path) == jmespath.search(path, answer)


@given(st.text("abA_.[]@09-| ", min_size=1, max_size=8), ANSWERS)
def test_any_text_is_taken_or_refused_as_jmespath_does(text: str, answer: object) -> None:
    try:
        wanted = jmespath.search(text, answer)
    except jmespath.exceptions.JMESPathError:
        with pytest.raises((ValueError, ContractError)):
            find(answer, checked(text))
    else:
        assert find(answer, text) == wanted


@pytest.mark.parametrize(
    "name",
    ["plain", "it's", 'a "b"', "back`tick", "back\\`slash", "' || 'x", "`1`", "a\nb", "\\", "ü\u2028", "${name}"],
)
def test_a_value_in_an_expression_is_that_value_and_nothing_else(name: str) -> None:
    data = {"items": [{"name": "other", "id": 1}, {"name": name, "id": 2}]}
    expression = checked("items[?name == ${name}].id | [0]")
    assert find(data, expression, {"name": name}) == 2
    assert find(data, expression, {"name": "none"}) is None


@given(st.text(), st.text())
def test_no_value_changes_what_an_expression_means(name: str, other: str) -> None:
    found = find([{"n": name}, {"n": other}], checked("[?n == ${x}].n"), {"x": name})
    assert found == [name] * (2 if name == other else 1)


def test_values_keep_their_kind_and_may_be_absent_where_that_is_said() -> None:
    assert find([{"n": 7}, {"n": "7"}], checked("[?n == ${x}].n"), {"x": 7}) == [7]
    assert find([{"n": 7}, {"n": None}], checked("[?n == ${x?}]"), {}) == [{"n": None}]
    with pytest.raises(ContractError, match="no value for `x`"):
        find([], checked("[?n == ${x}]"), {})


@pytest.mark.parametrize("quoted", ["[?n == '${x}']", '[?"${x}" == n]', '[?n == `"${x}"`]'])
def test_a_value_within_quotes_is_refused_with_what_to_write(quoted: str) -> None:
    with pytest.raises(ValueError, match="has no quotes"):
        checked(quoted)
