"""State in a real PostgreSQL, directly and through a PgBouncer in transaction mode."""

import asyncio
import base64
import time
from collections.abc import Callable, Iterator

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, RunnerError, StateError, Unreachable
from runner.state import postgresql as module
from runner.state.interface import AccountOptions
from runner.state.postgresql import PostgresqlState, PostgresqlStore
from runner.state.record import AccountState, Codec
from tests.support.postgresql import PASSWORD, Server, pgbouncer, postgresql
from tests.support.sessions import session
from tests.unit.auth.test_code_sources import KEY, codes_of

pytestmark = pytest.mark.xdist_group("postgresql")
CLOCK = SystemClock()
SESSION = session("token", refresh_token="again")


@pytest.fixture(scope="module")
def bouncer(database: Server) -> Iterator[Server]:
    with pgbouncer(database) as server:
        yield server


@pytest.fixture(params=["direct", "pgbouncer"])
def server(request: pytest.FixtureRequest, database: Server) -> Server:
    if request.param == "direct":
        return database
    made: Server = request.getfixturevalue("bouncer")
    return made


def _deadline(seconds: float = 20.0) -> Deadline:
    return Deadline.after(CLOCK, seconds, "the run's deadline")


class Process:
    """What one process of a run has of the database."""

    def __init__(self, server: Server, key: str, most: int = 2, warnings: list[str] | None = None) -> None:
        self.state = PostgresqlState(server.url, PASSWORD, most, CLOCK)
        told: list[str] = [] if warnings is None else warnings
        self.store: PostgresqlStore = self.state.account(key, AccountOptions(Codec(), told.append))

    async def __aenter__(self) -> PostgresqlStore:
        return self.store

    async def __aexit__(self, *_ended: object) -> None:
        await self.state.close()


def test_what_one_process_saves_the_next_one_loads_and_accounts_do_not_mix(server: Server) -> None:
    async def work() -> None:
        async with Process(server, f"a{server.port}") as store, Process(server, f"b{server.port}") as other:
            assert await store.read(_deadline()) == AccountState()
            async with store.hold(_deadline()) as held:
                held.change(session=SESSION, last_step=7)
            async with other.hold(_deadline()) as held:
                held.change(last_step=9)
        async with Process(server, f"a{server.port}") as again:
            assert await again.read(_deadline()) == AccountState(SESSION, last_step=7)

    asyncio.run(work())


def test_many_processes_take_turns_and_no_change_is_lost(server: Server) -> None:
    key, inside = f"turns{server.port}", list[int]()

    async def process(number: int) -> None:
        async with Process(server, key) as store, store.hold(_deadline(60)) as held:
            inside.append(number)
            assert len(inside) == 1
            await asyncio.sleep(0.005)
            held.change(last_step=(held.state.last_step or 0) + 1)
            inside.remove(number)

    async def work() -> None:
        await asyncio.gather(*(process(number) for number in range(20)))
        async with Process(server, key) as store:
            assert (await store.read(_deadline())).last_step == 20

    asyncio.run(work())


def test_a_held_account_is_waited_for_until_the_deadline(server: Server) -> None:
    async def work() -> None:
        key = f"held{server.port}"
        async with Process(server, key) as first, Process(server, key) as second, first.hold(_deadline()):
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the login lock"):
                async with second.hold(_deadline(0.3)):
                    raise AssertionError("two hold the account")

    asyncio.run(work())


def test_a_holder_that_was_cut_off_cannot_save_once_another_has_taken_over(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must save a code as used before it sends it: so it never sends one that its successor may send."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.3)

    async def work() -> None:
        key = f"cut{server.port}"
        async with Process(server, key) as first, Process(server, key) as second:
            context = first.hold(_deadline())
            held = await context.__aenter__()
            async with second.hold(_deadline(5)) as successor:  # after the lease, which nobody renewed
                successor.change(last_step=8)
                await successor.keep()
                held.change(last_step=8)
                with pytest.raises(StateError, match="took over the login lock; nothing was sent"):
                    await held.keep()
            with pytest.raises(StateError, match="took over the login lock"):
                await context.__aexit__(None, None, None)
            assert (await second.read(_deadline())).last_step == 8

    asyncio.run(work())


def test_a_holder_that_works_for_long_keeps_its_lease_and_a_killed_ones_ends_within_seconds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.2)

    async def work() -> None:
        key = f"long{server.port}"
        async with Process(server, key) as first, Process(server, key) as second:
            context = first.hold(_deadline())
            held = await context.__aenter__()
            with pytest.raises(DeadlineExceeded):
                async with second.hold(_deadline(1.6)):
                    raise AssertionError("two hold the account")
            held.change(last_step=1)
            await held.keep()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # the process is killed: nothing renews
            began = time.monotonic()
            async with second.hold(_deadline()) as successor:
                assert successor.state.last_step == 1
            assert time.monotonic() - began < 10

    asyncio.run(work())


def test_many_accounts_share_few_connections_and_one_rests(database: Server) -> None:
    async def work() -> None:
        state = PostgresqlState(database.url, PASSWORD, 3, CLOCK)
        seen, others = list[int](), _connections(database)

        async def one(number: int) -> None:
            store = state.account(f"many{number}", AccountOptions(Codec(), print))
            async with store.hold(_deadline(60)) as held:
                held.change(last_step=number)
            seen.append(await asyncio.to_thread(_connections, database) - others)

        await asyncio.gather(*(one(number) for number in range(12)))
        assert max(seen) <= 3
        assert len(state.connections._idle) == 1
        await state.close()

    asyncio.run(work())


def _connections(database: Server) -> int:
    return int(database.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sync-runner'"))


def test_the_state_is_sealed_where_a_key_is_given(database: Server) -> None:
    codec = Codec([base64.b64encode(bytes(32)).decode()])

    async def work() -> None:
        state = PostgresqlState(database.url, PASSWORD, 1, CLOCK)
        async with state.account("sealed", AccountOptions(codec, print)).hold(_deadline()) as held:
            held.change(session=SESSION)
        await state.close()

    asyncio.run(work())
    kept = database.sql("SELECT convert_from(state, 'UTF8') FROM sync_runner_accounts WHERE key = 'sealed'")
    assert "sealed" in kept
    assert "token" not in kept.replace("gAAAA", "")


def test_a_broken_state_counts_as_empty_with_one_warning(database: Server) -> None:
    async def work() -> None:
        async with Process(database, "broken") as store, store.hold(_deadline()) as held:
            held.change(last_step=5)
        database.sql("UPDATE sync_runner_accounts SET state = 'nonsense' WHERE key = 'broken'")
        warnings: list[str] = []
        async with Process(database, "broken", warnings=warnings) as store, store.hold(_deadline()) as held:
            assert held.state.last_step is None
            assert held.state.assume_used_until > 0
        assert len(warnings) == 1

    asyncio.run(work())


def test_a_restart_in_the_middle_is_survived() -> None:
    async def work(server: Server) -> None:
        async with Process(server, "restart") as store, store.hold(_deadline(60)) as held:
            held.change(last_step=1)
            server.stop()
            server.start()
            await held.keep()
            held.change(last_step=2)
        async with Process(server, "restart") as store:
            assert (await store.read(_deadline())).last_step == 2

    with postgresql() as server:
        asyncio.run(work(server))


def _fails(kind: type[RunnerError], url: str, password: str | None = PASSWORD) -> str:
    async def work() -> str:
        state = PostgresqlState(url, password, 1, CLOCK)
        with pytest.raises(kind) as caught:
            await state.account("x", AccountOptions(Codec(), print)).read(_deadline(3))
        await state.close()
        return str(caught.value)

    return asyncio.run(work())


def test_a_database_that_is_away_is_unreachable_and_one_that_refuses_is_configuration(database: Server) -> None:
    assert "PostgreSQL cannot be used" in _fails(Unreachable, "postgresql://runner@127.0.0.1:9/postgres")
    wrong = _fails(StateError, database.url, "wrong")
    assert "password authentication failed" in wrong
    assert "check state.url and the secret `state_password`" in wrong
    assert "does not exist" in _fails(StateError, database.url.replace("/postgres", "/nothere"))
    database.sql("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    denied = _fails(StateError, database.url.replace("runner@", "reader@"), "reader")
    assert "permission denied" in denied


def test_a_server_that_takes_the_connection_and_never_answers_is_given_up_at_the_deadline() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://runner@127.0.0.1:{silent.getsockname()[1]}/postgres"

        async def work() -> float:
            state = PostgresqlState(url, PASSWORD, 1, CLOCK)
            began = time.monotonic()
            with pytest.raises(Unreachable, match="does not respond"):
                await state.account("x", AccountOptions(Codec(), print)).read(_deadline(0.5))
            return time.monotonic() - began

        assert asyncio.run(work()) < 5


def test_tables_of_the_next_version_are_used_and_of_one_beyond_that_say_what_to_do() -> None:
    with postgresql() as server:
        ask: Callable[[], None] = lambda: asyncio.run(_read_once(server))  # noqa: E731 - said once
        ask()
        server.sql("UPDATE sync_runner_schema SET version = 4; ALTER TABLE sync_runner_accounts ADD COLUMN later TEXT")
        ask()
        assert server.sql("SELECT version FROM sync_runner_schema") == "4"
        server.sql("UPDATE sync_runner_schema SET version = 5, readable_by = 4")
        with pytest.raises(StateError, match="use that version"):
            ask()


async def _read_once(server: Server) -> None:
    async with Process(server, "migrated") as store, store.hold(_deadline()) as held:
        held.change(last_step=(held.state.last_step or 0) + 1)


def test_processes_that_come_at_once_to_an_empty_database_make_its_tables_once() -> None:
    async def work(server: Server) -> None:
        await asyncio.gather(*(_read_once(server) for _ in range(8)))

    with postgresql() as server:
        asyncio.run(work(server))
        assert server.sql("SELECT version, readable_by FROM sync_runner_schema") == "3|1"


def test_more_processes_than_the_server_lets_in_take_turns() -> None:
    async def process(server: Server, number: int) -> None:
        async with Process(server, "crowd") as store, store.hold(_deadline(60)) as held:
            held.change(last_step=(held.state.last_step or 0) + 1)

    async def work(server: Server) -> None:
        await _read_once(server)
        await asyncio.gather(*(process(server, number) for number in range(24)))
        async with Process(server, "crowd") as store:
            assert (await store.read(_deadline())).last_step == 24

    with postgresql() as server:
        server.stop()
        server.command = [word.replace("max_connections=300", "max_connections=6") for word in server.command]
        server.start()
        asyncio.run(work(server))


def test_two_hosts_accounts_with_one_seed_never_send_one_code(server: Server) -> None:
    """As two runs, one after the other, at one moment of the server's time."""
    seed = KEY[:16] + ("A" if server.port % 2 else "B") * 16
    sent = [
        codes_of(PostgresqlState(server.url, PASSWORD, 2, CLOCK), f"{name}{server.port}", seeds=(seed,))
        for name in ("User", "user")
    ]
    assert sent[0] != sent[1]


def test_what_is_kept_of_a_seed_is_no_account(server: Server) -> None:
    async def work() -> list[str]:
        async with Process(server, f"seed-{server.port:032}") as store:
            async with store.hold(_deadline()) as held:
                held.change(last_step=7)
            assert (await store.read(_deadline())).last_step == 7
        state = PostgresqlState(server.url, PASSWORD, 2, CLOCK)
        try:
            return await state.keys(_deadline())
        finally:
            await state.close()

    assert not any(key.startswith("seed-") for key in asyncio.run(work()))
