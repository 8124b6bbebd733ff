"""Ledgers of a test, which the test's end closes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runner.clock import Clock, Deadline, SystemClock
from runner.state.ledger import Ledger
from runner.state.sqlite_ledger import SqliteLedger

_open = ExitStack()


def open_ledger(directory: Path | None, **options: Any) -> Ledger:
    """`Ledger(directory, ...)`, closed when the test ends."""
    ledger = Ledger(directory, **options)
    _open.callback(ledger.close)
    return ledger


def close_ledgers() -> None:
    """Close what the test opened."""
    _open.pop_all().close()


def with_ledger(
    directory: Path | None,
    work: Callable[[SqliteLedger], Awaitable[None]],
    clock: Clock | None = None,
    **options: Any,
) -> None:
    """Do `work` with the ledger as a run uses it, and close it."""

    async def and_close() -> None:
        ledger = SqliteLedger(directory, clock or SystemClock(), **options)
        try:
            await work(ledger)
        finally:
            await ledger.close(Deadline(SystemClock()))

    asyncio.run(and_close())
