"""The ledger: what is written stays, several processes share it, and a broken file is told."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.ledger import Entry, Ledger


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
        ledger.intend(_entry(f"{number}-{index}"))
        ledger.ended(f"{number}-{index}", "completed", 2.0)
    ledger.close()


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
