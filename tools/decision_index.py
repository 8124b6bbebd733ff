"""Writes docs/decisions/README.md: every decision with its date, its status, and the files that name it."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "docs" / "decisions"
PLACES = (
    "runner", "tests", "tools", "benchmarks", "k8s", "charts", "container", "examples", ".ci",
    ".dockerignore", "action.yml", "compose.yaml", "Dockerfile", "Makefile", "pyproject.toml",
)  # fmt: skip
_STATUS = re.compile(r"^\*\*Status:\*\* (.+), (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
_NAMED = re.compile(r"\b[Dd]ecisions? ((?:\d{4}(?:, )?)+)")


def named() -> dict[str, list[str]]:
    """For each number of a decision the files that name it (`decision 0061`; `decisions 0061, 0063`): paths below the root."""
    found: dict[str, list[str]] = {}
    for path in sorted(_files()):
        numbers = {number for match in _NAMED.findall(path.read_text(encoding="utf-8")) for number in match.split(", ")}
        for number in numbers - {""}:
            found.setdefault(number, []).append(path.relative_to(ROOT).as_posix())
    return found


def _files() -> Iterator[Path]:
    for name in PLACES:
        place = ROOT / name
        for path in place.rglob("*") if place.is_dir() else [place]:
            if path.is_file() and path.suffix not in {".pyc", ".png", ".gz"}:
                yield path


def index() -> str:
    """The page. Raises ValueError that names a note without a title, or without a line `**Status:** accepted, 2026-01-31`."""
    rows, places = [], named()
    for path in sorted(NOTES.glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        title = re.match(r"# (\d{4}) (.+)\n", text)
        status = _STATUS.search(text)
        if title is None or status is None:
            raise ValueError(f"{path.name}: wants `# NNNN Title` and a line `**Status:** accepted, 2026-01-31`")
        where = ", ".join(f"`{one}`" for one in places.get(title[1], []))
        rows.append(f"| [{title[1]}]({path.name}) | {title[2]} | {status[1]} | {status[2]} | {where} |")
    head = [
        "# Decisions", "",
        "One note each: what was decided, why, what it costs; and the files that it explains, which name its number.",
        "Written by `make docs`.", "",
        "| number | decision | status | date | files |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    (NOTES / "README.md").write_text(index(), encoding="utf-8")
