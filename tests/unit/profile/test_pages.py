"""Each built-in profile has a page whose configuration the runner takes, and which says what it was run against."""

import re
from pathlib import Path

import pytest
import yaml

from runner import profile as profiles
from runner.profile import parameters
from runner.settings import load

PAGES = Path(__file__).parents[3] / "docs" / "profiles"
every_profile = pytest.mark.parametrize("name", profiles.built_ins())


def _page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@every_profile
def test_the_configuration_shown_is_valid_and_fits_the_profile(name: str, tmp_path: Path) -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```$", _page(name), re.MULTILINE | re.DOTALL)[0]
    config = tmp_path / "runner.yaml"
    config.write_text(shown)
    settings = load({}, config).settings
    assert settings.profile == name
    assert settings.syncs
    for sync in settings.syncs:
        parameters.check(profiles.load(name), sync, settings.params)


@every_profile
def test_another_auth_that_a_page_shows_makes_a_valid_profile(name: str, tmp_path: Path) -> None:
    for shown in re.findall(r"^```yaml\n(auth:.*?)^```$", _page(name), re.MULTILINE | re.DOTALL):
        changed = yaml.safe_load(profiles.locate(name).read_text()) | yaml.safe_load(shown)
        (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
        profiles.load(str(tmp_path / "changed.yaml"))


@every_profile
def test_the_page_names_each_secret_and_parameter_and_says_what_it_was_run_against(name: str) -> None:
    page, profile = _page(name), profiles.load(name)
    for word in (*profile.auth.secrets, *profile.parameters):
        assert f"`{word}`" in page, word
    assert "**Run against" in page
    assert f"[`{name}`]({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")
