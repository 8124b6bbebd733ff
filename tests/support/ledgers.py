"""Ledgers of a test, which the test's end closes."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runner.state.ledger import Ledger

_open = ExitStack()


def open_ledger(directory: Path | None, **options: Any) -> Ledger:
    """`Ledger(directory, ...)`, closed when the test ends."""
    ledger = Ledger(directory, **options)
    _open.callback(ledger.close)
    return ledger


def close_ledgers() -> None:
    """Close what the test opened."""
    _open.pop_all().close()
