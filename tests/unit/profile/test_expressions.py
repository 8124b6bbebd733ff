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
