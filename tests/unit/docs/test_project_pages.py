"""SECURITY.md and CONTRIBUTING.md name what there is: tests, files, targets of make."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHOWN = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", SECURITY)))
FILES = sorted(set(re.findall(r"`((?:runner|tests|tools|docs|k8s|examples|benchmarks)/[\w./-]+)`", CONTRIBUTING)))


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the page's tables, without the heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("file", "name"), SHOWN, ids=lambda value: str(value).rpartition("/")[2])
def test_each_test_that_security_names_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"SECURITY.md names {file}::{name}"


def test_each_row_of_the_threat_model_says_what_holds_and_which_test_shows_it() -> None:
    head, *table = rows(SECURITY)
    assert head == ["asset", "who, from where", "what holds", "shown by"]
    assert len(table) >= 15
    for row in table:
        assert len(row) == 4 and all(row) and "`tests/" in row[3], row


def test_each_change_of_contributing_has_its_place_and_what_comes_after() -> None:
    table = CONTRIBUTING.partition("## Where a change goes")[2]
    head, *changes = rows(table)
    assert head == ["change", "where", "and then"]
    assert len(changes) >= 13
    for row in changes:
        assert len(row) == 3 and all(row), row


@pytest.mark.parametrize("file", FILES)
def test_each_file_that_contributing_names_exists(file: str) -> None:
    assert (ROOT / file).exists(), f"CONTRIBUTING.md names {file}"


def test_contributing_names_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", CONTRIBUTING, re.MULTILINE))
    assert {"test", "check", "lint", "docs", "test-containers"} <= named <= targets
