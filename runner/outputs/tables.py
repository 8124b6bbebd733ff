"""The console on which tables are printed. Loads rich: to be imported where one is printed."""

import os
import re
from typing import TextIO

from rich.console import Console


def table_console(stream: TextIO, *, markup: bool = True) -> Console:
    """Console for tables on `stream`. Rich takes the width from COLUMNS, and raises for digits that are none (`²`)."""
    told = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    told |= {name: os.environ[name] for name in ("COLUMNS", "LINES") if _is_size(os.environ.get(name, ""))}
    return Console(file=stream, highlight=False, emoji=False, markup=markup, _environ=told)


def _is_size(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None
