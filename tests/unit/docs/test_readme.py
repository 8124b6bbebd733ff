"""The README says what is so."""

import re
from pathlib import Path

import pytest
import yaml

from runner.errors import ExitCode
from runner.parser import COMMANDS
from runner.settings import load

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_exit_codes_is_the_runners_own() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) ?\|$", README, re.MULTILINE)
    assert rows == [(str(int(code)), code.meaning, code.retry_helps) for code in ExitCode]


def test_every_command_is_in_the_table() -> None:
    section = README.split("## Commands")[1].split("## ")[0]
    named = set(re.findall(r"`([a-z-]+)[ `]", section))
    assert set(COMMANDS) <= named


def test_the_settings_shown_are_valid() -> None:
    (text,) = [
        text for text in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "base_url" in text
    ]
    settings = load(yaml.safe_load(text)).settings
    assert [sync.type for sync in settings.syncs] == ["activities", "health", "workouts"]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert not re.search(r"/work/|/root/|/home/(?!you)", page.read_text(encoding="utf-8"))
