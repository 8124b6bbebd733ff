"""Writes docs/decisions/README.md: every decision with its date and status, as its note says."""

import re
from pathlib import Path

NOTES = Path(__file__).parents[1] / "docs" / "decisions"
_STATUS = re.compile(r"^\*\*Status:\*\* (.+), (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def index() -> str:
    """The page. Raises ValueError that names a note without a title, or without a line `**Status:** accepted, 2026-01-31`."""
    rows = []
    for path in sorted(NOTES.glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        title = re.match(r"# (\d{4}) (.+)\n", text)
        status = _STATUS.search(text)
        if title is None or status is None:
            raise ValueError(f"{path.name}: wants `# NNNN Title` and a line `**Status:** accepted, 2026-01-31`")
        rows.append(f"| [{title[1]}]({path.name}) | {title[2]} | {status[1]} | {status[2]} |")
    head = [
        "# Decisions", "", "One note each: what was decided, why, what it costs. Written by `make docs`.", "",
        "| number | decision | status | date |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    (NOTES / "README.md").write_text(index(), encoding="utf-8")
