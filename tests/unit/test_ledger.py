"""The ledger: what is written stays, several processes share it, and a broken file is told."""

import asyncio
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, UsageError
from runner.ledger import BUSY, Entry, Ledger, LedgerBusy, patiently
from runner.lock import open_lock, try_lock
from tests.linked_clock import LinkedClock

CLOCK = SystemClock()


def _entry(key: str, at: float = 1.0, name: str = "health") -> Entry:
    return Entry(key, "https://x.example u", "default", name, name, "run", at)


def test_an_intent_stays_open_until_its_end_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.triggered("a", "job-1")
    ledger.close()
    again = Ledger(tmp_path)
    found = again.open_entry("https://x.example u", "health")
    assert found is not None
    assert (found.key, found.job_id, found.outcome) == ("a", "job-1", None)
    again.ended("a", "completed", 9.0, processed=3)
    assert again.open_entry("https://x.example u", "health") is None
    success = again.last_success("https://x.example u", "health")
    assert success is not None
    assert (success.intended_at, success.processed_items) == (1.0, 3)


def test_a_failed_run_leaves_the_last_success_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(_entry("a", 1.0))
    ledger.ended("a", "completed", 2.0)
    ledger.intend(_entry("b", 3.0))
    ledger.ended("b", "failed", 4.0, error="why")
    success = ledger.last_success("https://x.example u", "health")
    assert success is not None
    assert success.key == "a"
    assert [entry.key for entry in ledger.recent(10)] == ["b", "a"]


def test_targets_and_names_do_not_mix() -> None:
    ledger = Ledger(None)
    ledger.intend(_entry("a", name="health"))
    assert ledger.open_entry("https://x.example u", "workouts") is None
    assert ledger.open_entry("https://y.example u", "health") is None


def _write(directory: Path, number: int) -> None:
    ledger = Ledger(directory)
    for index in range(20):
        _patiently(lambda: ledger.intend(_entry(f"{number}-{index}")))  # noqa: B023
        _patiently(lambda: ledger.ended(f"{number}-{index}", "completed", 2.0))  # noqa: B023
    ledger.close()


def _patiently(act: Callable[[], object]) -> None:
    asyncio.run(patiently(act, CLOCK, Deadline(CLOCK)))


def test_a_ledger_that_another_process_writes_to_is_waited_for_and_only_so_long(tmp_path: Path) -> None:
    ledger, clock = Ledger(tmp_path), LinkedClock()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="database is locked"):
            asyncio.run(patiently(lambda: ledger.intend(_entry("a")), clock, Deadline(clock)))
        assert BUSY - 1 <= sum(clock.slept) <= BUSY
        clock.slept.clear()
        with pytest.raises(DeadlineExceeded, match="the run's deadline is over"):
            deadline = Deadline.after(clock, 0.1, "the run's deadline")
            asyncio.run(patiently(lambda: ledger.intend(_entry("a")), clock, deadline))
        assert sum(clock.slept) <= 0.1
    _patiently(lambda: ledger.intend(_entry("a")))
    assert [entry.key for entry in ledger.recent(5)] == ["a"]


def test_a_ledger_that_another_process_is_opening_is_waited_for_and_only_so_long(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    descriptor = open_lock(tmp_path / "ledger.lock")
    assert try_lock(descriptor)
    with pytest.raises(LedgerBusy, match=r"ledger\.lock: another process holds the ledger"):
        Ledger(tmp_path, patience=0.05)
    threading.Timer(0.2, os.close, (descriptor,)).start()
    Ledger(tmp_path, patience=60.0).close()


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ledger.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="can not be opened"):
        Ledger(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_page_is_told_and_is_no_defect(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(200):
        ledger.intend(_entry(f"key-{number}", name="x" * 100))
    ledger.close()
    path = tmp_path / "ledger.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(UsageError, match=r"can not be (read|written) .*(move the file away|state\.dir)"):
        Ledger(tmp_path).recent(10)
    with pytest.raises(UsageError, match="can not be written"):
        Ledger(tmp_path).intend(_entry("new"))


@pytest.mark.parametrize(("version", "lacks"), [(1, ["carried", "foreign_job"]), (2, ["carried"])])
def test_a_ledger_of_an_earlier_version_is_brought_up_and_keeps_what_it_knows(
    tmp_path: Path, version: int, lacks: list[str]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.ended("a", "completed", 2.0)
    for column in lacks:
        ledger._db.execute(f"ALTER TABLE syncs DROP COLUMN {column}")
    ledger._db.execute(f"PRAGMA user_version={version}")
    ledger.close()
    again = Ledger(tmp_path)
    assert [(entry.key, entry.foreign) for entry in again.recent(5)] == [("a", False)]
    again.triggered("a", "job", foreign=True, carried={"run": "7"})
    again.close()
    found = Ledger(tmp_path).recent(5)[0]
    assert (found.foreign, found.carried) == (True, {"run": "7"})


def test_anothers_job_that_was_watched_is_no_success_to_go_on_from(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for key, foreign in (("mine", False), ("theirs", True)):
        ledger.intend(_entry(key, 1.0 if key == "mine" else 2.0))
        ledger.triggered(key, f"job-{key}", foreign=foreign)
        ledger.ended(key, "completed", 3.0)
    found = ledger.last_success("https://x.example u", "health")
    assert found is not None
    assert found.key == "mine"


def test_a_job_is_found_by_its_id_and_only_for_its_target(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.triggered("a", "job-1")
    found = ledger.of_job("https://x.example u", "job-1")
    assert found is not None
    assert found.key == "a"
    assert ledger.of_job("https://x.example u", "job-2") is None
    assert ledger.of_job("https://y.example u", "job-1") is None


def test_one_sync_is_triggered_by_one_process_at_a_time_and_others_do_not_wait(tmp_path: Path) -> None:
    async def work() -> None:
        first, second, clock = Ledger(tmp_path), Ledger(tmp_path), LinkedClock()
        soon = Deadline.after(clock, 1.0, "the run's deadline")
        async with first.alone("t", "health", clock, soon):
            async with second.alone("t", "workouts", clock, soon), second.alone("u", "health", clock, soon):
                pass
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the trigger of `health`"):
                async with second.alone("t", "health", clock, soon):
                    raise AssertionError("both hold it")
        async with second.alone("t", "health", clock, soon), Ledger(None).alone("t", "health", clock, soon):
            pass

    asyncio.run(work())


def test_many_processes_open_a_new_ledger_at_once_and_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path / "new", number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert len(Ledger(tmp_path / "new").recent(1000)) == 120


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UsageError, match="written by a newer sync-runner"):
        Ledger(tmp_path)


def test_a_file_that_is_no_ledger_is_told_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_text("something of the user's" * 100)
    with pytest.raises(UsageError, match="can not be opened"):
        Ledger(tmp_path)
    assert path.read_text().startswith("something of the user's")


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="check state.dir"):
        Ledger(tmp_path / "file" / "state")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(UsageError, match="check space and rights of state.dir"):
        for number in range(100):
            ledger.intend(_entry("x" * 200 + str(number)))


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    Ledger(tmp_path / "state").close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "ledger.sqlite3").stat().st_mode & 0o777 == 0o600
