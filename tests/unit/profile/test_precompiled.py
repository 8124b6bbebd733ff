"""The built-in profiles as JSON are what their YAML files say, and count for no other text."""

import shutil
from pathlib import Path

import pytest

from runner import yaml_source
from runner.profile import loading, parse, precompiled

FILES = sorted(loading.BUILT_IN.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_that_is_read_as_json_is_the_one_of_the_yaml_file(path: Path) -> None:
    checked = parse(yaml_source.read(path))
    assert path.with_suffix(".json").read_text(encoding="utf-8") == precompiled.text(path, checked), "run `make docs`"
    made = precompiled.read(path)
    assert made == checked
    assert made is not None
    assert made.model_dump_json() == checked.model_dump_json()


def test_json_made_of_another_text_does_not_count(tmp_path: Path) -> None:
    source = Path(shutil.copy(FILES[0], tmp_path))
    shutil.copy(FILES[0].with_suffix(".json"), tmp_path)
    assert precompiled.read(source) is not None
    source.write_text(source.read_text() + "# one more line\n")
    assert precompiled.read(source) is None
