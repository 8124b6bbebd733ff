"""The ledger: what is written stays, several processes share it, and a broken file is told."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, UsageError
from runner.state.file_lock import open_lock, try_lock
from runner.state.ledger import BUSY, SCHEMA, Entry, LedgerBusy, retry_while_busy
from tests.support.clock import LinkedClock
from tests.support.ledgers import open_ledger

CLOCK = SystemClock()
LEASES = ["run_key", "holder", "lease_until"]


def _entry(key: str, at: float = 1.0, name: str = "health") -> Entry:
    return Entry(key, "https://x.example u", "default", name, name, "run", at)


def test_an_intent_stays_open_until_its_end_is_written(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.triggered("a", "job-1")
    ledger.close()
    again = open_ledger(tmp_path)
    found = again.open_entry("https://x.example u", "health")
    assert found is not None
    assert (found.key, found.job_id, found.outcome) == ("a", "job-1", None)
    again.ended("a", "completed", 9.0, processed=3)
    assert again.open_entry("https://x.example u", "health") is None
    success = again.last_success("https://x.example u", "health")
    assert success is not None
    assert (success.intended_at, success.processed_items) == (1.0, 3)


def test_a_failed_run_leaves_the_last_success_as_it_was(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a", 1.0))
    ledger.ended("a", "completed", 2.0)
    ledger.intend(_entry("b", 3.0))
    ledger.ended("b", "failed", 4.0, error="why")
    success = ledger.last_success("https://x.example u", "health")
    assert success is not None
    assert success.key == "a"
    assert [entry.key for entry in ledger.recent(10)] == ["b", "a"]


def test_targets_and_names_do_not_mix() -> None:
    ledger = open_ledger(None)
    ledger.intend(_entry("a", name="health"))
    assert ledger.open_entry("https://x.example u", "workouts") is None
    assert ledger.open_entry("https://y.example u", "health") is None


def _patiently(act: Callable[[], object]) -> None:
    asyncio.run(retry_while_busy(act, CLOCK, Deadline(CLOCK)))


def test_a_ledger_that_another_process_writes_to_is_waited_for_and_only_so_long(tmp_path: Path) -> None:
    ledger, clock = open_ledger(tmp_path), LinkedClock()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="database is locked"):
            asyncio.run(retry_while_busy(lambda: ledger.intend(_entry("a")), clock, Deadline(clock)))
        assert BUSY - 1 <= sum(clock.slept) <= BUSY
        clock.slept.clear()
        with pytest.raises(DeadlineExceeded, match="the run's deadline is over"):
            deadline = Deadline.after(clock, 0.1, "the run's deadline")
            asyncio.run(retry_while_busy(lambda: ledger.intend(_entry("a")), clock, deadline))
        assert sum(clock.slept) <= 0.1
    _patiently(lambda: ledger.intend(_entry("a")))
    assert [entry.key for entry in ledger.recent(5)] == ["a"]


def test_a_ledger_that_another_process_is_opening_is_waited_for_and_only_so_long(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()
    descriptor = open_lock(tmp_path / "ledger.lock")
    assert try_lock(descriptor)
    with pytest.raises(LedgerBusy, match=r"ledger\.lock: another process holds the ledger"):
        open_ledger(tmp_path, patience=0.05)
    threading.Timer(0.2, os.close, (descriptor,)).start()
    open_ledger(tmp_path, patience=60.0).close()


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ledger.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be opened"):
        open_ledger(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_page_is_told_and_is_no_defect(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for number in range(200):
        ledger.intend(_entry(f"key-{number}", name="x" * 100))
    ledger.close()
    path = tmp_path / "ledger.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(UsageError, match=r"cannot be (read|written) .*(move the file away|state\.dir)"):
        open_ledger(tmp_path).recent(10)
    with pytest.raises(UsageError, match="cannot be written"):
        open_ledger(tmp_path).intend(_entry("new"))


@pytest.mark.parametrize(
    ("version", "lacks"), [(1, ["carried", "foreign_job", *LEASES]), (2, ["carried", *LEASES]), (3, LEASES)]
)
def test_a_ledger_of_an_earlier_version_is_brought_up_and_keeps_what_it_knows(
    tmp_path: Path, version: int, lacks: list[str]
) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.ended("a", "completed", 2.0)
    for column in lacks:
        ledger._db.execute(f"ALTER TABLE syncs DROP COLUMN {column}")
    ledger._db.execute(f"PRAGMA user_version={version}")
    ledger.close()
    again = open_ledger(tmp_path)
    assert [(entry.key, entry.external) for entry in again.recent(5)] == [("a", False)]
    again.triggered("a", "job", external=True, carried={"run": "7"})
    again.close()
    found = open_ledger(tmp_path).recent(5)[0]
    assert (found.external, found.carried) == (True, {"run": "7"})


def test_a_lease_is_renewed_by_its_holder_and_taken_by_another_only_when_it_ran_out() -> None:
    ledger = open_ledger(None)
    ledger.intend(replace(_entry("a"), holder="first", lease_until=100.0))
    assert not ledger.lease("a", "second", now=99.9, until=200.0)
    assert ledger.lease("a", "first", now=99.9, until=150.0)
    assert not ledger.lease("a", "second", now=149.9, until=200.0)
    assert ledger.lease("a", "second", now=150.0, until=200.0)
    assert not ledger.lease("a", "first", now=150.1, until=300.0)
    assert not ledger.lease("no such key", "first", now=150.1, until=300.0)
    found = ledger.recent(1)[0]
    assert (found.holder, found.lease_until) == ("second", 200.0)


def test_what_completed_under_a_run_key_is_found_and_nothing_else() -> None:
    ledger, target = open_ledger(None), "https://x.example u"
    for key, run_key, outcome in (
        ("a", "r1", "failed"),
        ("b", "r1", "completed"),
        ("c", "r2", "failed"),
        ("d", None, "completed"),
    ):
        ledger.intend(replace(_entry(key), run_key=run_key))
        ledger.ended(key, outcome, 2.0)
    found = ledger.completed_under(target, "health", "r1")
    assert found is not None
    assert (found.key, found.run_key) == ("b", "r1")
    assert ledger.completed_under(target, "health", "r2") is None
    assert ledger.completed_under(target, "workouts", "r1") is None
    assert ledger.completed_under("https://y.example u", "health", "r1") is None


def test_anothers_job_that_was_watched_is_no_success_to_go_on_from(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for key, external in (("mine", False), ("theirs", True)):
        ledger.intend(_entry(key, 1.0 if key == "mine" else 2.0))
        ledger.triggered(key, f"job-{key}", external=external)
        ledger.ended(key, "completed", 3.0)
    found = ledger.last_success("https://x.example u", "health")
    assert found is not None
    assert found.key == "mine"


def test_a_job_is_found_by_its_id_and_only_for_its_target(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.triggered("a", "job-1")
    found = ledger.of_job("https://x.example u", "job-1")
    assert found is not None
    assert found.key == "a"
    assert ledger.of_job("https://x.example u", "job-2") is None
    assert ledger.of_job("https://y.example u", "job-1") is None


def test_one_sync_is_triggered_by_one_process_at_a_time_and_others_do_not_wait(tmp_path: Path) -> None:
    async def work() -> None:
        first, second, clock = open_ledger(tmp_path), open_ledger(tmp_path), LinkedClock()
        soon = Deadline.after(clock, 1.0, "the run's deadline")
        async with first.alone("t", "health", clock, soon):
            async with second.alone("t", "workouts", clock, soon), second.alone("u", "health", clock, soon):
                pass
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the trigger of `health`"):
                async with second.alone("t", "health", clock, soon):
                    raise AssertionError("both hold it")
        async with second.alone("t", "health", clock, soon), open_ledger(None).alone("t", "health", clock, soon):
            pass

    asyncio.run(work())


def test_of_thousands_of_syncs_few_hold_a_lock_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.state.ledger.BEGINNING", 3)
    ledger, most = open_ledger(tmp_path), []

    async def begin(name: str, deadline: Deadline) -> None:
        async with ledger.alone("t", name, CLOCK, deadline):
            await asyncio.sleep(0.001)
            most.append(_open_locks(tmp_path))

    async def work() -> None:
        await asyncio.gather(*(begin(str(number), Deadline(CLOCK)) for number in range(10)))
        async with ledger.alone("t", "a", CLOCK, Deadline(CLOCK)), ledger.alone("t", "b", CLOCK, Deadline(CLOCK)):
            await begin("c", Deadline.after(CLOCK, 5.0, "the run's deadline"))
            async with ledger.alone("t", "c", CLOCK, Deadline(CLOCK)):
                with pytest.raises(DeadlineExceeded, match=r"^trigger: no turn came before the run's deadline ended$"):
                    await begin("d", Deadline.after(CLOCK, 0.01, "the run's deadline"))

    asyncio.run(work())
    assert (max(most), len(most)) == (3, 11)


def _open_locks(directory: Path) -> int:
    """How many lock files this process has open there."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(link.parent == directory and link.suffix == ".lock" for link in links)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UsageError, match="written by a newer sync-runner"):
        open_ledger(tmp_path)


def test_a_file_that_is_no_ledger_is_told_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_text("something of the user's" * 100)
    with pytest.raises(UsageError, match="cannot be opened"):
        open_ledger(tmp_path)
    assert path.read_text().startswith("something of the user's")


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="check state.dir"):
        open_ledger(tmp_path / "file" / "state")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(UsageError, match="check space and rights of state.dir"):
        for number in range(100):
            ledger.intend(_entry("x" * 200 + str(number)))


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    open_ledger(tmp_path / "state").close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "ledger.sqlite3").stat().st_mode & 0o777 == 0o600


def test_an_entry_keeps_everything_that_is_told_of_it() -> None:
    ledger = open_ledger(None, redact=lambda text: text.replace("geheim", "***"))
    entry = Entry("k", "https://x.example u", "mine", "night", "health", "run-1", 12.5)
    ledger.intend(entry)
    assert ledger.recent(1) == [entry]
    ledger.triggered("k", "job-1", external=True)
    ledger.ended("k", "failed", 99.5, processed=7, error="geheim broke")
    assert ledger.recent(1) == [
        Entry("k", "https://x.example u", "mine", "night", "health", "run-1", 12.5, "job-1", "failed", 99.5, 7, "*** broke", True)
    ]  # fmt: skip
    ledger.ended("k", "completed", 100.0)
    assert ledger.recent(1)[0].error is None
    assert ledger.recent(1)[0].processed_items is None


def test_the_newest_of_several_is_taken(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for key, at in (("b", 2.0), ("c", 3.0), ("a", 1.0)):
        ledger.intend(_entry(key, at))
        ledger.triggered(key, "job")
    target = "https://x.example u"
    newest = [ledger.open_entry(target, "health"), ledger.of_job(target, "job")]
    assert [entry.key if entry else None for entry in newest] == ["c", "c"]
    for key in "abc":
        ledger.ended(key, "completed", 9.0)
    success = ledger.last_success(target, "health")
    assert success is not None
    assert success.key == "c"
    assert ledger.last_success(target, "workouts") is None
    assert [entry.key for entry in ledger.recent(2)] == ["c", "b"]


def test_an_intent_that_is_written_again_begins_anew(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a"))
    ledger.triggered("a", "job-1")
    ledger.ended("a", "failed", 2.0)
    ledger.intend(_entry("a", 5.0))
    assert ledger.recent(1) == [_entry("a", 5.0)]


def test_errors_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    path = str(tmp_path / "ledger.sqlite3").replace(".", r"\.")
    ledger._db.execute("PRAGMA query_only=1")
    with pytest.raises(
        UsageError, match=rf"^{path}: cannot be written \(.*\); check space and rights of state\.dir$"
    ) as one:
        ledger.intend(_entry("a"))
    assert not isinstance(one.value, LedgerBusy)
    ledger.close()
    (tmp_path / "ledger.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    told = rf"^{path}: the ledger cannot be opened \(.*\); check state\.dir, or move the file away$"
    with pytest.raises(UsageError, match=told):
        open_ledger(tmp_path)


def test_the_log_of_changes_is_written_ahead_and_to_the_disk(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    settings = [
        ledger._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "user_version")
    ]
    assert settings == ["wal", 2, SCHEMA]
    assert ledger._db.execute("PRAGMA busy_timeout").fetchone()[0] == 0


def test_an_intent_outlives_a_power_failure_and_the_rest_is_written_quickly(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    writes: list[Callable[[], None]] = [
        lambda: ledger.intend(_entry("a")),
        lambda: ledger.triggered("a", "job-1"),
        lambda: ledger.ended("a", "completed", 2.0),
        lambda: ledger.intend(_entry("b")),
    ]
    levels = []
    for write in writes:
        write()
        levels.append(ledger._db.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [2, 1, 1, 2]  # FULL: to the disk with each write; NORMAL: with the next checkpoint


def test_a_ledger_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger(None)
    ledger.intend(_entry("a"))
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_a_state_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    open_ledger(tmp_path / "var" / "lib" / "state").close()
    assert (tmp_path / "var" / "lib" / "state" / "ledger.sqlite3").exists()


def test_a_ledger_that_another_program_holds_alone_is_busy_and_not_broken(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerBusy, match="cannot be opened"):
            open_ledger(tmp_path, patience=0.05)


def test_the_locks_of_syncs_are_files_of_their_own_that_only_the_user_may_read(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = open_ledger(tmp_path)
        async with ledger.alone("t", "health", CLOCK, Deadline(CLOCK)):
            (lock,) = tmp_path.glob("trigger-*.lock")
            assert lock.stat().st_mode & 0o777 == 0o600
            assert "health" not in lock.name
        lock.unlink()
        lock.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match=r"trigger-\w+\.lock: cannot be opened \(.*\); check state\.dir"):
            async with ledger.alone("t", "health", CLOCK, Deadline(CLOCK)):
                raise AssertionError("a link was followed")

    asyncio.run(work())


def test_the_wait_for_others_is_told_and_bounded(tmp_path: Path) -> None:
    clock = LinkedClock()

    def busy() -> None:
        raise LedgerBusy("ledger: busy")

    with pytest.raises(DeadlineExceeded, match=r"^ledger: busy; the run's deadline is over$"):
        asyncio.run(retry_while_busy(busy, clock, Deadline.after(clock, 0.05, "the run's deadline")))
    assert all(0 < seconds <= 0.02 for seconds in clock.slept)
    clock.slept.clear()
    with pytest.raises(LedgerBusy, match=r"^ledger: busy$"):
        asyncio.run(retry_while_busy(busy, clock, Deadline(clock)))
    assert BUSY - 1 <= sum(clock.slept) <= BUSY
    assert asyncio.run(retry_while_busy(lambda: 7, clock, Deadline(clock))) == 7


def test_a_job_id_that_holds_a_secret_is_kept_redacted(tmp_path: Path) -> None:
    """`status --offline` knows no secrets: what the ledger holds is fit to print."""
    ledger = open_ledger(tmp_path, redact=lambda text: text.replace("geheim", "***"))
    ledger.intend(Entry("key", "target", "default", "health", "health", "run", 1.0))
    ledger.triggered("key", "job-geheim-1")
    assert [entry.job_id for entry in ledger.recent(5)] == ["job-***-1"]
    ledger.close()
