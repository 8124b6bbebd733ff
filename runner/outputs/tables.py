"""Creates the console for tables. Loads rich: import it only where a table is printed."""

import os
import re
from typing import TextIO

from rich.console import Console

PIPE_WIDTH = 10_000  # characters: a pipe has none, and a line folded there could begin with a command of a CI system


def table_console(stream: TextIO, *, markup: bool = True) -> Console:
    """Returns a console for tables on `stream`, without a limit of width where it is no terminal.

    Rich reads the width from COLUMNS and fails on non-decimal digits (`²`).
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {name: os.environ[name] for name in ("COLUMNS", "LINES") if _is_size(os.environ.get(name, ""))}
    console = Console(file=stream, highlight=False, emoji=False, markup=markup, _environ=environment)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _is_size(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None
