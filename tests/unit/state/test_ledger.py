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
from runner.external import ExternalText
from runner.state.entry import KEPT_EACH
from runner.state.file_lock import open_lock, try_lock
from runner.state.ledger import BUSY, SCHEMA, Entry, LedgerBusy, LedgerCorrupt
from runner.state.sqlite_ledger import SqliteLedger
from tests.support.clock import LinkedClock
from tests.support.ledgers import close_ledgers, open_ledger, with_ledger

CLOCK = SystemClock()
LEASES = ["run_key", "holder", "lease_until", "shown_id", "watched_until"]


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
    assert (found.key, found.shown_id, found.outcome) == ("a", "job-1", None)
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


def test_a_ledger_that_another_process_writes_to_is_waited_for_and_only_so_long(tmp_path: Path) -> None:
    clock = LinkedClock()

    async def work(ledger: SqliteLedger) -> None:
        await ledger.open(Deadline(clock))
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerBusy, match="database is locked"):
                await ledger.intend(_entry("a"), Deadline(clock))
            assert BUSY - 1 <= sum(clock.slept) <= BUSY
            assert all(0 < seconds <= 0.02 for seconds in clock.slept)
            clock.slept.clear()
            with pytest.raises(DeadlineExceeded, match="the run's deadline passed"):
                await ledger.intend(_entry("a"), Deadline.after(clock, 0.1, "the run's deadline"))
            assert sum(clock.slept) <= 0.1
        await ledger.intend(_entry("a"), Deadline(clock))
        assert [entry.key for entry in await ledger.recent(5, Deadline(clock))] == ["a"]

    with_ledger(tmp_path, work, clock=clock)


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


def _damaged_page(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for number in range(200):
        ledger.intend(_entry(f"key-{number}", name="x" * 100))
    ledger.close()
    path = tmp_path / "ledger.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def _other_program(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_text("something of the user's" * 100)


def _other_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as other:
        other.execute(f"PRAGMA user_version={SCHEMA}")
        other.execute("CREATE TABLE syncs (key TEXT)")


def _odd_row(tmp_path: Path) -> None:
    open_ledger(tmp_path).intend(_entry("a"))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("UPDATE syncs SET intended_at='soon', carried='no JSON'")


def _names_that_are_no_text(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(path.read_bytes().replace(b"tablesyncs", b"table\xff\xffncs"))


@pytest.mark.parametrize("broken", [_damaged_page, _other_program, _other_tables, _odd_row, _names_that_are_no_text])
def test_a_ledger_that_cannot_be_believed_is_set_aside_with_one_warning_and_begun_anew(
    tmp_path: Path, broken: Callable[[Path], None]
) -> None:
    broken(tmp_path)
    close_ledgers()
    before, told = (tmp_path / "ledger.sqlite3").read_bytes(), list[str]()

    async def work(ledger: SqliteLedger) -> None:
        assert await ledger.recent(10, Deadline(CLOCK)) == []
        await ledger.intend(_entry("new"), Deadline(CLOCK))
        assert [entry.key for entry in await ledger.recent(10, Deadline(CLOCK))] == ["new"]

    with_ledger(tmp_path, work, warn=told.append)
    (warning,) = told
    (aside,) = tmp_path.glob("ledger.corrupt-*")
    assert f"set aside as {aside.name}" in warning
    assert aside.read_bytes()[4096:] == before[4096:]
    assert [entry.key for entry in open_ledger(tmp_path).recent(5)] == ["new"]


def test_of_two_processes_one_sets_a_broken_ledger_aside_and_the_other_goes_on_with_the_new_one(tmp_path: Path) -> None:
    async def work(first: SqliteLedger) -> None:
        second = SqliteLedger(tmp_path, CLOCK, warn=told.append)
        await first.open(Deadline(CLOCK))
        await second.open(Deadline(CLOCK))
        _odd_row(tmp_path)
        await first.recent(5, Deadline(CLOCK))
        await first.intend(_entry("new"), Deadline(CLOCK))
        assert [entry.key for entry in await second.recent(5, Deadline(CLOCK))] == ["new"]
        await second.close(Deadline(CLOCK))

    told: list[str] = []
    with_ledger(tmp_path, work, warn=told.append)
    assert len(told) == 1


def test_of_broken_ledgers_the_newest_few_are_kept(tmp_path: Path) -> None:
    clock = LinkedClock()
    for _ in range(6):
        _other_program(tmp_path)
        with_ledger(tmp_path, lambda ledger: ledger.open(Deadline(clock)), clock=clock)
        clock.pass_time(10.0)
    assert len([*tmp_path.glob("ledger.corrupt-*")]) == 3


@pytest.mark.parametrize(
    ("version", "lacks"),
    [
        (1, ["carried", "foreign_job", *LEASES]),
        (2, ["carried", *LEASES]),
        (3, LEASES),
        (4, ["shown_id", "watched_until"]),
        (5, ["watched_until"]),
    ],
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


def test_a_holder_is_told_that_another_polls_its_job_too_until_that_one_leaves() -> None:
    ledger = open_ledger(None)
    ledger.intend(replace(_entry("a"), holder="first", lease_until=100.0))
    assert not ledger.watched("a", 10.0)
    ledger.lease("a", "first", now=10.0, until=100.0)
    assert not ledger.watched("a", 10.0)
    ledger.lease("a", "second", now=10.0, until=70.0)
    ledger.lease("a", "first", now=20.0, until=100.0)
    assert ledger.watched("a", 69.9)
    assert not ledger.watched("a", 70.0)
    assert not ledger.watched("no such key", 20.0)
    ledger.lease("a", "second", now=30.0, until=30.0)  # it leaves
    assert not ledger.watched("a", 30.0)
    ledger.lease("a", "second", now=99.0, until=160.0)
    ledger.lease("a", "second", now=100.0, until=160.0)  # it has the job now: the first one's lease ran out
    assert not ledger.watched("a", 100.0)


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
    clock = LinkedClock()

    async def work(first: SqliteLedger) -> None:
        second, memory = SqliteLedger(tmp_path, clock), SqliteLedger(None, clock)
        await first.open(Deadline(clock))
        await second.open(Deadline(clock))
        soon = Deadline.after(clock, 1.0, "the run's deadline")
        async with first.alone("t", "health", soon):
            async with second.alone("t", "workouts", soon), second.alone("u", "health", soon):
                pass
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the trigger of `health`"):
                async with second.alone("t", "health", soon):
                    raise AssertionError("both hold it")
        later = Deadline(clock)
        async with second.alone("t", "health", later), memory.alone("t", "health", later):
            pass
        await second.close(Deadline(clock))

    with_ledger(tmp_path, work, clock=clock)


def test_a_sync_that_gives_up_its_turn_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Cancelled while the thread takes the lock: nobody else would ever get it in this process's life."""

    async def work(ledger: SqliteLedger) -> None:
        for _ in range(20):
            turn = asyncio.create_task(ledger.alone("t", "health", Deadline(CLOCK)).__aenter__())
            await asyncio.sleep(0)
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
        async with ledger.alone("t", "health", Deadline.after(CLOCK, 60.0, "the run's deadline")):
            assert _open_locks(tmp_path) == 1

    with_ledger(tmp_path, work)


def test_of_thousands_of_syncs_few_hold_a_lock_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.state.sqlite_ledger.BEGINNING", 3)
    most: list[int] = []

    async def work(ledger: SqliteLedger) -> None:
        async def begin(name: str, deadline: Deadline) -> None:
            async with ledger.alone("t", name, deadline):
                await asyncio.sleep(0.001)
                await ledger.recent(1, Deadline(CLOCK))  # after the locks that were given back
                most.append(_open_locks(tmp_path))

        await asyncio.gather(*(begin(str(number), Deadline(CLOCK)) for number in range(10)))
        async with ledger.alone("t", "a", Deadline(CLOCK)), ledger.alone("t", "b", Deadline(CLOCK)):
            await begin("c", Deadline.after(CLOCK, 60.0, "the run's deadline"))
            async with ledger.alone("t", "c", Deadline(CLOCK)):
                with pytest.raises(
                    DeadlineExceeded, match=r"^trigger: no slot was free before the run's deadline ended$"
                ):
                    await begin("d", Deadline.after(CLOCK, 0.01, "the run's deadline"))

    with_ledger(tmp_path, work)
    assert (max(most), len(most)) == (3, 11)


def _open_locks(directory: Path) -> int:
    """How many lock files this process has open there."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(link.parent == directory and link.suffix == ".lock" for link in links)


def _of_newer_version(directory: Path, readable_by: int | None) -> None:
    open_ledger(directory).close()
    with closing(sqlite3.connect(directory / "ledger.sqlite3", isolation_level=None)) as newer:
        newer.execute("ALTER TABLE syncs ADD COLUMN more TEXT")
        newer.execute("PRAGMA user_version=99")
        if readable_by is None:
            newer.execute("DROP TABLE readable")
        else:
            newer.execute(f"UPDATE readable SET schema={readable_by}")


@pytest.mark.parametrize("readable_by", [None, 99])
def test_a_ledger_of_a_newer_version_that_cannot_be_used_is_refused_and_not_touched(
    tmp_path: Path, readable_by: int | None
) -> None:
    _of_newer_version(tmp_path, readable_by)
    with pytest.raises(UsageError, match=r"written by a newer sync-runner .*restore the backup") as refused:
        open_ledger(tmp_path)
    assert not isinstance(refused.value, LedgerCorrupt)
    assert [path.name for path in tmp_path.glob("*corrupt*")] == []


def test_a_ledger_of_a_newer_version_that_says_it_can_be_used_is_used(tmp_path: Path) -> None:
    _of_newer_version(tmp_path, SCHEMA)
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("a"))
    assert ledger.recent(5) == [_entry("a")]
    assert ledger._db.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="check state.dir"):
        open_ledger(tmp_path / "file" / "state")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(UsageError, match="check space and permissions of state.dir"):
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
        Entry("k", "https://x.example u", "mine", "night", "health", "run-1", 12.5, ExternalText("job-1"), "failed", 99.5, 7, "*** broke", True, shown_id="job-1")
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
        UsageError, match=rf"^{path}: cannot be written \(.*\); check space and permissions of state\.dir$"
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
    async def work(ledger: SqliteLedger) -> None:
        await ledger.open(Deadline(CLOCK))
        async with ledger.alone("t", "health", Deadline(CLOCK)):
            (lock,) = tmp_path.glob("trigger-*.lock")
            assert lock.stat().st_mode & 0o777 == 0o600
            assert "health" not in lock.name
        lock.unlink()
        lock.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match=r"trigger-\w+\.lock: cannot be opened \(.*\); check state\.dir"):
            async with ledger.alone("t", "health", Deadline(CLOCK)):
                raise AssertionError("a link was followed")

    with_ledger(tmp_path, work)


def test_a_job_id_that_holds_a_secret_goes_back_whole_and_is_shown_redacted(tmp_path: Path) -> None:
    """`status --offline` may know no secrets. An id that was kept redacted could neither be polled nor told again."""
    ledger = open_ledger(tmp_path, redact=lambda text: text.replace("geheim", "***"))
    ledger.intend(Entry("key", "target", "default", "health", "health", "run", 1.0))
    ledger.triggered("key", "job-geheim-1")
    assert [(entry.job_id, entry.shown_id) for entry in ledger.recent(5)] == [
        (ExternalText("job-geheim-1"), "job-***-1")
    ]
    assert ledger.of_job("target", ExternalText("job-geheim-1")) is not None
    ledger.close()


def test_of_each_sync_the_newest_are_kept_with_what_is_open_and_the_last_success(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.intend(_entry("open", 1.0))
    ledger.intend(_entry("success", 2.0))
    ledger.ended("success", "completed", 3.0)
    ledger.intend(_entry("other", 1.5, name="workouts"))
    ledger.ended("other", "failed", 3.0)
    for number in range(100):
        ledger.intend(_entry(f"{number:03}", 10.0 + number))
        ledger.ended(f"{number:03}", "failed", 11.0 + number)
    kept = [entry.key for entry in ledger.recent(1000)]
    assert kept == [*(f"{number:03}" for number in range(99, 99 - KEPT_EACH, -1)), "success", "other", "open"]


def test_what_is_old_is_forgotten_once_a_day_and_never_what_is_open(tmp_path: Path) -> None:
    day, clock = 86400.0, LinkedClock()
    now = clock.time()

    def write(key: str, days: float, outcome: str | None) -> None:
        ledger = open_ledger(tmp_path)
        ledger.intend(_entry(key, now - days * day, name=key))
        if outcome:
            ledger.ended(key, outcome, now - days * day)

    def after_a_run() -> list[str]:
        with_ledger(tmp_path, lambda one: one.open(Deadline(clock)), clock=clock, keep=100 * day)
        return [entry.key for entry in open_ledger(tmp_path).recent(5)]

    write("open", 999.0, None)
    write("old", 101.0, "completed")
    write("young", 90.0, "completed")
    assert after_a_run() == ["young", "open"]
    write("older", 500.0, "failed")
    clock.pass_time(0.9 * day)
    assert after_a_run() == ["young", "older", "open"]
    clock.pass_time(0.2 * day)
    assert after_a_run() == ["young", "open"]
