"""One ledger, many processes."""

import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path

from runner.clock import Deadline, SystemClock
from runner.state.ledger import Entry, retry_while_busy
from tests.support.ledgers import open_ledger

CLOCK = SystemClock()


def _patiently(act: Callable[[], object]) -> None:
    asyncio.run(retry_while_busy(act, CLOCK, Deadline(CLOCK)))


def _entry(key: str) -> Entry:
    return Entry(key, "https://x.example u", "default", "health", "health", "run", 1.0)


def _write(directory: Path, number: int) -> None:
    ledger = open_ledger(directory)
    for index in range(20):
        _patiently(lambda: ledger.intend(_entry(f"{number}-{index}")))  # noqa: B023
        _patiently(lambda: ledger.ended(f"{number}-{index}", "completed", 2.0))  # noqa: B023
    ledger.close()


def test_many_processes_open_a_new_ledger_at_once_and_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path / "new", number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert len(open_ledger(tmp_path / "new").recent(1000)) == 120
