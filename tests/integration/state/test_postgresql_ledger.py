"""The ledger in a real PostgreSQL: what the file promises, over hosts, with holders that are cut off, and with outages."""

import asyncio
import random
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, OutcomeUnknown, StateError, Unreachable
from runner.jobs.journal import SyncJournal
from runner.state import postgresql_ledger as module
from runner.state.entry import KEPT_EACH, Entry
from runner.state.interface import JobLedger
from runner.state.postgresql_connections import Connections
from runner.state.postgresql_ledger import PostgresqlLedger
from runner.state.sqlite_ledger import SqliteLedger
from tests.support.command_line import CommandLine
from tests.support.postgresql import PASSWORD, Server, pgbouncer, postgresql

MakeCommandLine = Callable[..., CommandLine]

pytestmark = pytest.mark.xdist_group("postgresql")
CLOCK = SystemClock()
TARGET = "https://x.example u"
Opened = Callable[[], JobLedger]


@pytest.fixture
def emptied(database: Server) -> Server:
    database.sql("DROP TABLE IF EXISTS sync_runner_schema, sync_runner_accounts, sync_runner_syncs, sync_runner_locks")
    return database


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Makes the ledger of one more process."""
    if request.param == "sqlite":
        yield lambda: SqliteLedger(tmp_path, CLOCK)
        return
    database: Server = request.getfixturevalue("emptied")
    if request.param == "postgresql":
        yield lambda: of_process(database)
        return
    with pgbouncer(database) as bouncer:
        yield lambda: of_process(bouncer)


class Process(PostgresqlLedger):
    """The ledger of one process, which closes its connections too."""

    async def close(self, deadline: Deadline) -> None:
        await super().close(deadline)
        await self._connections.close()


def of_process(server: Server, told: list[str] | None = None, keep: float | None = None) -> PostgresqlLedger:
    connections = Connections(server.url, PASSWORD, 2, CLOCK)
    return Process(connections, CLOCK, warn=print if told is None else told.append, keep=keep)


def within(seconds: float = 20.0) -> Deadline:
    return Deadline.after(CLOCK, seconds, "the run's deadline")


def entry(key: str, at: float = 1.0, name: str = "health") -> Entry:
    return Entry(key, TARGET, "default", name, name, "run", at)


async def intended(ledger: JobLedger, one: Entry) -> None:
    async with ledger.alone(one.target, one.name, within()):
        await ledger.intend(one, within())


def work(opened: Opened, act: Callable[..., Awaitable[None]], processes: int = 1) -> None:
    async def and_close() -> None:
        ledgers = [opened() for _ in range(processes)]
        try:
            await act(*ledgers)
        finally:
            for ledger in ledgers:
                await ledger.close(within())

    asyncio.run(and_close())


def test_what_one_process_writes_another_finds_whole(opened: Opened) -> None:
    async def act(first: JobLedger, second: JobLedger) -> None:
        await intended(first, replace(entry("a"), run_key="r1"))
        await first.triggered("a", "job-1", within(), carried={"run": "7"})
        found = await second.open_entry(TARGET, "health", within())
        assert found is not None
        assert (found.key, found.shown_id, found.carried, found.run_key) == ("a", "job-1", {"run": "7"}, "r1")
        assert await second.of_job(TARGET, "job-1", within()) == found
        await first.ended("a", "completed", 2.0, within(), processed=3, error=None)
        assert await second.open_entry(TARGET, "health", within()) is None
        for read in (
            second.last_success(TARGET, "health", within()),
            second.completed_under(TARGET, "health", "r1", within()),
            second.newest(TARGET, "health", within()),
        ):
            one = await read
            assert one is not None
            assert (one.outcome, one.processed_items, one.ended_at) == ("completed", 3, 2.0)
        assert await second.last_success(TARGET, "workouts", within()) is None
        assert await second.completed_under(TARGET, "health", "r2", within()) is None
        await intended(first, entry("b", 5.0))
        await first.triggered("b", "job-2", within(), external=True)
        await first.ended("b", "completed", 6.0, within(), error="why")
        success = await second.last_success(TARGET, "health", within())
        assert success is not None
        assert success.key == "a"
        assert [one.key for one in await second.recent(5, within())] == ["b", "a"]

    work(opened, act, 2)


def test_a_lease_is_taken_by_another_only_when_it_ran_out(opened: Opened) -> None:
    async def act(first: JobLedger, second: JobLedger) -> None:
        now = time.time()
        await intended(first, replace(entry("a", now), holder="first", lease_until=now + 0.5))
        assert not await second.lease("a", "second", now=time.time(), until=time.time() + 60, deadline=within())
        assert await first.lease("a", "first", now=time.time(), until=time.time() + 0.5, deadline=within())
        await asyncio.sleep(0.6)
        assert await second.lease("a", "second", now=time.time(), until=time.time() + 60, deadline=within())
        assert not await first.lease("a", "first", now=time.time(), until=time.time() + 60, deadline=within())

    work(opened, act, 2)


def test_a_holder_is_told_that_another_polls_its_job_too_until_that_one_leaves(opened: Opened) -> None:
    async def act(first: JobLedger, second: JobLedger) -> None:
        async def told() -> bool:
            return await first.watched("a", time.time(), within())

        async def polls(ledger: JobLedger, holder: str, seconds: float) -> bool:
            now = time.time()
            return await ledger.lease("a", holder, now=now, until=now + seconds, deadline=within())

        await intended(first, replace(entry("a", time.time()), holder="first", lease_until=time.time() + 60))
        assert await polls(first, "first", 60)
        assert not await told()
        assert not await polls(second, "second", 60)
        assert await told()
        assert not await polls(second, "second", 0)  # it leaves
        assert not await told()
        assert not await polls(second, "second", 60)
        assert await polls(first, "first", 0)
        assert await polls(second, "second", 60)
        assert not await told()  # the second has the job now, and polls it alone

    work(opened, act, 2)


def test_one_process_at_a_time_has_the_turn(opened: Opened) -> None:
    async def act(first: JobLedger, second: JobLedger) -> None:
        async with first.alone(TARGET, "health", within()) as turn:
            assert turn.remaining > 0
            async with second.alone(TARGET, "workouts", within()):
                pass
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the trigger of `health`"):
                async with second.alone(TARGET, "health", within(0.3)):
                    raise AssertionError("both have it")
        async with second.alone(TARGET, "health", within()):
            pass

    work(opened, act, 2)


def test_of_each_sync_the_newest_are_kept(opened: Opened) -> None:
    async def act(ledger: JobLedger) -> None:
        await intended(ledger, entry("open", 1.0))
        await intended(ledger, entry("success", 2.0))
        await ledger.ended("success", "completed", 3.0, within())
        for number in range(KEPT_EACH + 5):
            await intended(ledger, entry(f"{number:03}", 10.0 + number))
            await ledger.ended(f"{number:03}", "failed", 11.0, within())
        kept = [one.key for one in await ledger.recent(100, within())]
        assert kept == [*(f"{number:03}" for number in range(KEPT_EACH + 4, 4, -1)), "success", "open"]

    work(opened, act)


def test_a_holder_that_is_cut_off_gives_up_before_another_begins_and_cannot_write_an_intent(
    emptied: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(module, "MARGIN", 0.3)
    monkeypatch.setattr(module, "RENEW_SECONDS", 60.0)  # it is cut off: nothing is renewed

    async def act(first: JobLedger, second: JobLedger) -> None:
        async with (
            first.alone(TARGET, "health", within()) as turn,
            second.alone(TARGET, "health", within()) as successor,
        ):
            assert turn.remaining == 0.0
            assert successor.remaining > 0.0
            with pytest.raises(StateError, match="another process took over the trigger; nothing was sent"):
                await first.intend(entry("late"), within())
            await second.intend(entry("ours"), within())
        assert [one.key for one in await second.recent(5, within())] == ["ours"]

    work(lambda: of_process(emptied), act, 2)


def test_a_holder_that_works_for_long_keeps_its_turn(emptied: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(module, "MARGIN", 0.1)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)

    async def act(first: JobLedger, second: JobLedger) -> None:
        async with first.alone(TARGET, "health", within()) as turn:
            with pytest.raises(DeadlineExceeded):
                async with second.alone(TARGET, "health", within(2.0)):
                    raise AssertionError("both have it")
            assert turn.remaining > 0

    work(lambda: of_process(emptied), act, 2)


def test_an_outage_in_mid_run_is_waited_for_and_what_ended_meanwhile_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    async def act(ledger: JobLedger) -> None:
        await intended(ledger, entry("a"))
        server.stop()
        await ledger.ended("a", "completed", 2.0, within(0.0))  # nobody waits for it
        threading.Timer(1.0, server.start).start()
        await intended(ledger, entry("b", 3.0))
        await ledger.open_entry(TARGET, "health", within())  # after what was under way
        found = await ledger.recent(5, within())
        assert [(one.key, one.outcome) for one in found] == [("b", None), ("a", "completed")]

    with postgresql() as server:
        work(lambda: of_process(server, told), act)
    assert any("cannot be used" in text and "retrying" in text for text in told)


def test_a_database_that_stays_away_is_told_of_at_the_end() -> None:
    told: list[str] = []

    async def act(ledger: JobLedger) -> None:
        await intended(ledger, entry("a"))
        server.stop()
        await ledger.ended("a", "completed", 2.0, within(0.0))
        await ledger.close(within(0.5))

    with postgresql() as server:
        work(lambda: of_process(server, told), act)
    assert any("1 entries were not stored" in text for text in told), told


def test_a_database_that_is_away_at_the_start_is_unreachable(emptied: Server) -> None:
    async def act(ledger: JobLedger) -> None:
        with pytest.raises(Unreachable):
            await ledger.open(within())

    away = Server([], 9, Path("/"))
    work(lambda: of_process(away), act)


def test_what_is_old_is_forgotten_once_a_day_by_one_process(emptied: Server) -> None:
    now, day = time.time(), 86400.0

    async def write(ledger: JobLedger) -> None:
        await intended(ledger, entry("open", now - 500 * day, name="open"))
        for key, days in (("old", 401), ("young", 300)):
            await intended(ledger, entry(key, now - days * day, name=key))
            await ledger.ended(key, "completed", now, within())

    async def nothing(ledger: JobLedger) -> None:
        await ledger.open(within())

    def keys() -> str:
        return emptied.sql("SELECT string_agg(key, ' ' ORDER BY key) FROM sync_runner_syncs")

    work(lambda: of_process(emptied), write)
    assert keys() == "old open young"
    work(lambda: of_process(emptied, keep=400 * day), nothing)
    assert keys() == "open young"
    work(lambda: of_process(emptied, keep=10 * day), nothing)  # not twice a day
    assert keys() == "open young"


ODD = {
    "intended_at": ("'NaN'", "'Infinity'", "-1", "1e300", "5"), "ended_at": ("'NaN'", "-1e20", "1e18", "7"),
    "lease_until": ("'Infinity'", "-5", "0"), "carried": ("'{'", "'[]'", "'null'", "''", "repeat('[', 100000)", "'{}'"),
    "job_id": ("E'\\x1b]0;x\\x07'", "repeat('x', 100000)", "''", "'job-1'"), "holder": ("E'\\n'", "''"),
    "outcome": ("'no such outcome'", "NULL", "''"), "run_id": ("''", "E'\\u202e'"),
}  # fmt: skip


def test_a_thousand_rows_that_no_runner_wrote_are_set_aside_with_one_warning_each(emptied: Server) -> None:
    chosen, told = random.Random(7), list[str]()

    def row(number: int) -> str:
        given = {
            "key": f"'k{number}'", "target": f"'{TARGET}'", "account": "'a'", "name": f"'sync {number}'", "sync_type": "'t'",
            "run_id": "'r'", "intended_at": "1", "job_id": "NULL", "outcome": "NULL", "ended_at": "NULL", "carried": "'{}'",
            "holder": "''", "lease_until": "0",
        }  # fmt: skip
        for name in chosen.sample(sorted(ODD), chosen.randrange(1, 4)):
            given[name] = chosen.choice(ODD[name])
        return f"({', '.join(given.values())})"

    async def nothing(ledger: JobLedger) -> None:
        await ledger.open(within())

    async def read(ledger: JobLedger) -> None:
        for number in range(1000):
            for _ in range(2):
                for find in (ledger.open_entry, ledger.newest, ledger.last_success):
                    await find(TARGET, f"sync {number}", within(60))
        assert all(one.target == TARGET for one in await ledger.recent(2000, within()))

    work(lambda: of_process(emptied), nothing)
    columns = "key, target, account, name, sync_type, run_id, intended_at, job_id, outcome, ended_at, carried, holder, lease_until"
    for start in range(0, 1000, 50):
        emptied.sql(f"INSERT INTO sync_runner_syncs ({columns}) VALUES {', '.join(map(row, range(start, start + 50)))}")
    work(lambda: of_process(emptied, told), read)
    aside = int(emptied.sql("SELECT count(*) FROM sync_runner_syncs WHERE left(target, 11) = 'set aside: '"))
    assert len(told) == len(set(told)) == aside and 300 < aside < 1000
    assert all("is not the runner's; set aside" in one and one.isprintable() for one in told)


def _options(server: Server) -> list[str]:
    return ["--set", f"state.url={server.url}"]


def _until_kept(server: Server) -> None:
    """Wait until the ledger has a job."""
    deadline = time.monotonic() + 30
    while server.sql("SELECT count(*) FROM sync_runner_syncs WHERE job_id IS NOT NULL") != "1":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_on_another_host_adopts_the_job_of_a_killed_one(
    emptied: Server, cli_with: MakeCommandLine, tmp_path: Path
) -> None:
    cli = cli_with(mfa="none", job_seconds=8.0)
    (cli.secrets / "state_password").write_text(PASSWORD)
    first = cli.start("run", "health", *_options(emptied))
    cli.until("running")
    _until_kept(emptied)
    first.signal(signal.SIGKILL)
    first.process.communicate()
    second = cli.run("run", "health", *_options(emptied))
    assert second.code == 0
    assert second.report["syncs"][0]["adopted"] is True
    assert len(cli.jobs()) == 1
    offline = cli.run("status", "--offline", *_options(emptied))
    assert offline.code == 0
    assert offline.stdout.count("completed") == 1
    assert not (cli.state / "ledger.sqlite3").exists()


class Way:
    """The way to a database, which can be cut while both ends live on."""

    def __init__(self, server: Server) -> None:
        self._to = ("127.0.0.1", server.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = server.url.replace(str(server.port), str(self.port))
        self._open = threading.Event()
        self._open.set()
        self._ends: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close every connection."""
        for one in self._ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes who waits in it
            one.close()
        self._open.set()

    def cut(self) -> None:
        """From now on nothing passes; connections stay, as when a network is parted."""
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._ends.append(near)
            try:
                far = socket.create_connection(self._to)
            except OSError:  # the database is gone
                near.close()
                continue
            self._ends.append(far)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self._open.wait()
                other.sendall(data)
        except OSError:
            pass
        one.close()
        other.close()


def test_a_run_that_is_cut_off_does_not_cancel_the_job_that_its_successor_watches(
    emptied: Server, cli_with: MakeCommandLine
) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    (cli.secrets / "state_password").write_text(PASSWORD)
    with closing(Way(emptied)) as way:
        first = cli.start("run", "health", "--set", f"state.url={way.url}")
        cli.until("running")
        _until_kept(emptied)
        way.cut()
        # The first one's minute, without waiting for it: its process believes in what it was given, the database in this.
        holder = emptied.sql("SELECT holder FROM sync_runner_syncs")
        second = cli.start("run", "health", *_options(emptied))
        deadline = time.monotonic() + 60
        while emptied.sql("SELECT holder FROM sync_runner_syncs") == holder:
            emptied.sql(f"UPDATE sync_runner_syncs SET lease_until = 0 WHERE holder = '{holder}'")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(cli.jobs()) == 1
        time.sleep(1.0)  # what the database has written, the second process reads a moment later
        second.signal(signal.SIGTERM)
        ended = second.finish()
        assert ended.code == 143
        assert [job["status"] for job in cli.jobs()] == ["cancelled"]
        first.signal(signal.SIGTERM)
        assert first.finish().code in (4, 143)
        assert len(cli.jobs()) == 1


def test_a_trigger_is_given_up_when_its_turn_runs_out_and_not_begun_after_it() -> None:
    class Ending:
        remaining = 0.1

    sent: list[str] = []

    async def trigger() -> None:
        sent.append("begun")
        await asyncio.sleep(60)
        sent.append("ended")

    async def act() -> None:
        journal = SyncJournal.__new__(SyncJournal)
        journal._turn = turn = Ending()
        waiting = asyncio.create_task(journal.within_turn(trigger()))
        await asyncio.sleep(0.05)
        turn.remaining = 0.0
        with pytest.raises(OutcomeUnknown) as lost:
            await waiting
        assert lost.value.sent
        with pytest.raises(StateError, match="nothing was sent"):
            await journal.within_turn(trigger())

    asyncio.run(act())
    assert sent == ["begun"]
