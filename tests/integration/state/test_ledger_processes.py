"""One ledger, many processes."""

import multiprocessing
from pathlib import Path

from runner.clock import Deadline, SystemClock
from runner.state.ledger import Entry
from runner.state.sqlite_ledger import SqliteLedger
from tests.support.ledgers import open_ledger, with_ledger

CLOCK = SystemClock()


def _entry(number: int, key: str) -> Entry:
    return Entry(key, f"https://x.example u{number}", "default", "health", "health", "run", 1.0)


def _write(directory: Path, number: int) -> None:
    async def work(ledger: SqliteLedger) -> None:
        for index in range(20):
            await ledger.intend(_entry(number, f"{number}-{index}"), Deadline(CLOCK))
            await ledger.ended(f"{number}-{index}", "completed", 2.0, Deadline(CLOCK))

    with_ledger(directory, work)


def test_many_processes_open_a_new_ledger_at_once_and_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path / "new", number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert len(open_ledger(tmp_path / "new").recent(1000)) == 120
