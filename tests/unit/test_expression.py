"""Expressions of profiles: plain paths, walked without jmespath, find what jmespath finds; built-in ones are all good."""

from pathlib import Path

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import document
from runner.api import profile
from runner.api.profile import ready
from runner.api.profile.expressions import checked, find
from runner.errors import ContractError

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


@pytest.mark.parametrize("name", profile.built_ins())
def test_a_built_in_profile_is_as_good_as_runs_take_it_to_be(name: str) -> None:
    assert profile.parse(document.read(profile.locate(name))) == profile.load(name)


@pytest.mark.parametrize("path", list(profile.loading.BUILT_IN.glob("*.json")), ids=lambda path: path.stem)
def test_a_profile_that_is_read_as_json_is_the_yaml_file(path: Path) -> None:
    assert path.read_text() == ready.text(path.with_suffix(".yaml")), "run `make docs`"


def test_json_made_of_another_text_does_not_count(tmp_path: Path) -> None:
    source = tmp_path / "own.yaml"
    source.write_text("version: 1\n")
    source.with_suffix(".json").write_text(ready.text(source))
    assert ready.read(source).data == {"version": 1}
    source.write_text("version: 2\n")
    assert ready.read(source).data == {"version": 2}
