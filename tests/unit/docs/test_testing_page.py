"""docs/testing.md: each test that it names exists, and each command block of the documentation is in it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _blocks(path: Path, language: str) -> int:
    return len(re.findall(rf"^ *```{language}$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_each_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 40
    for file, name in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{file}::{name}"


def test_each_command_block_of_the_documentation_is_listed() -> None:
    listed = {
        name: (int(sh), int(console))
        for name, sh, console in re.findall(r"^\| `([\w/.-]+\.md)` \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    }
    there = {
        str(path.relative_to(ROOT)): counts
        for path in DOCUMENTS
        if any(counts := (_blocks(path, "sh"), _blocks(path, "console")))
    }
    assert listed == there
