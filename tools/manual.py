"""Writes docs/sync-runner.1, the manual page, from the parser: `python -m tools.manual`."""

import os
from pathlib import Path

from argparse_manpage.manpage import Manpage

from runner import __version__
from runner.parser import build

PAGE = Path(__file__).parents[1] / "docs" / "sync-runner.1"


def written() -> str:
    """The page in the man macros. It bears the version instead of a date, so that it changes with the parser alone."""
    os.environ["COLUMNS"] = "100"  # argparse wraps by the terminal's width
    data = {
        "date": __version__,
        "manual_title": "sync-runner",
        "description": "run jobs behind a login with a one-time code",
    }
    return str(Manpage(build(None, whole=True), data))


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
