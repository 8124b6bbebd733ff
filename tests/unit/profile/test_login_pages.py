"""The page of logins: each configuration and each login that it shows is one that the runner takes, and each built-in is on it."""

import re
from pathlib import Path

import pytest
import yaml

from runner import profile as profiles
from runner.engine.logins import logins
from runner.profile.loading import LOGINS, built_ins, load_login
from runner.settings import load

PAGE = (Path(__file__).parents[3] / "docs" / "profiles" / "logins.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HEAD = {"version": 1, "description": "shown on the page"}


@pytest.mark.parametrize("shown", [one for one in SHOWN if one.startswith("auth:")])
def test_each_login_that_is_shown_is_valid(shown: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(HEAD | yaml.safe_load(shown), sort_keys=False), encoding="utf-8")
    assert load_login(str(tmp_path / "own.yaml")).auth.steps


@pytest.mark.parametrize("shown", [one for one in SHOWN if one.startswith("base_url:")])
def test_each_configuration_that_is_shown_makes_its_logins(shown: str, tmp_path: Path) -> None:
    config = tmp_path / "runner.yaml"
    config.write_text(shown.replace("my-jobs.yaml", "garminsync"))
    settings = load({}, config).settings
    assert len(logins(settings, profiles.load(settings.profile))) == len(settings.login)


def test_every_built_in_login_is_on_the_page_with_what_it_was_tried_on() -> None:
    rows = {
        name: row
        for row in PAGE.splitlines()
        for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1] if row.count("|") > 3 else "")
    }
    assert set(built_ins(LOGINS)) <= rows.keys()
    assert all(rows[name].split("|")[3].strip() for name in built_ins(LOGINS))
