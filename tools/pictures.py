"""Draws the docs' pictures of the live view, by the same code as on a terminal: `python -m tools.pictures DIR`."""

import re
import sys
from pathlib import Path

from runner.events import events
from runner.events.observer import Event, Record
from runner.outputs.progress import Board

WIDTHS = (80, 40)
NOW = 42.0  # seconds since the run began, in the picture
# Moment, sync, event.
_STORY: tuple[tuple[float, str, Event], ...] = (
    (0.0, "", events.RunStarted("", "", "", 1, 4)),
    (0.2, "activities", events.SyncStarted()),
    (18.4, "activities", events.SyncEnded("completed", 18.2, 1, "", None, 1240, 1240)),
    (0.2, "health", events.SyncStarted()),
    (40.0, "health", events.SyncProgress("", "running", 58.0, 2117, 3650)),
    (19.0, "sleep", events.SyncStarted()),
    (31.0, "sleep", events.SyncEnded("failed", 12.0, 1, "", "the data source is not available", 12, 400)),
    (31.5, "workouts", events.SyncStarted()),
    (40.0, "workouts", events.SyncProgress("", "running", 23.0)),
)


def picture(width: int) -> str:
    """The live view on a terminal `width` columns wide, as SVG."""
    import io

    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    board = Board(lambda: NOW)
    for moment, sync, event in _STORY:
        board.take(Record(moment, event, {"account": "default", "sync": sync}))
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False,
        _environ={},
    )  # fmt: skip
    console.print(board)
    # Without the fonts that rich would load from elsewhere: a picture needs no network.
    code = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="sync-runner run", unique_id=f"terminal-{width}", code_format=code)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE) + "\n"


if __name__ == "__main__":
    for columns in WIDTHS:
        Path(sys.argv[1], f"terminal-{columns}.svg").write_text(picture(columns), encoding="utf-8")
