"""The built-in profiles as JSON are what their YAML files say, and count for no other text."""

import shutil
from pathlib import Path

import pytest

from runner import yaml_source
from runner.profile import loading, parse, precompiled

FILES = sorted(loading.BUILT_IN.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_that_is_read_as_json_is_the_one_of_the_yaml_file(path: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(path, tmp_path))
    checked = parse(yaml_source.read(source))
    source.with_suffix(".json").write_text(precompiled.text(source, checked), encoding="utf-8")
    made = precompiled.read(source)
    assert made == checked
    assert made is not None
    assert made.model_dump_json() == checked.model_dump_json()


def test_json_made_of_another_text_does_not_count(tmp_path: Path) -> None:
    source = Path(shutil.copy(FILES[0], tmp_path))
    source.with_suffix(".json").write_text(precompiled.text(source, parse(yaml_source.read(source))), encoding="utf-8")
    assert precompiled.read(source) is not None
    source.write_text(source.read_text() + "# one more line\n")
    assert precompiled.read(source) is None
