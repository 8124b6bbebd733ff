"""Login under load, crash and failing system calls, judged by the server's record. `python -m tests.campaign.login NAME`.

Each campaign returns its figures, and fails where a promise is broken.
"""

import asyncio
import itertools
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from runner import profile as profiles
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import parse_seed
from runner.clock import Deadline, SystemClock
from runner.errors import RunnerError
from runner.events.observer import Observer
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.models import UserSession
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from runner.state.directory import DirectoryStore
from runner.state.interface import AccountOptions, AccountStore, account_key
from runner.state.record import AccountState, Codec
from tests.campaign.figures import Figures, main
from tests.support.command_line import CommandLine
from tests.support.sessions import session
from tests.support.stores import directory_store, load

CLOCK = SystemClock()
FORKS = multiprocessing.get_context("forkserver")  # forks without threads, whatever runs in this process
FORKS.set_forkserver_preload(
    ["tests.campaign.login", "httpx", "psycopg", "runner.state.postgresql", "tests.support.postgresql"]
)


def _nothing() -> None:
    """Nothing to prepare."""


@contextmanager
def sandbox_of(**settings: Any) -> Iterator[CommandLine]:
    """A sandbox of its own with its command line; nothing of it is left afterwards."""
    with (
        tempfile.TemporaryDirectory() as home,
        SandboxServer(SandboxSettings(port=0, kdf="fast", **settings)) as server,
    ):
        yield CommandLine(server, Path(home))


def parallel(processes: int = 20) -> Figures:
    """Cold runs of one account at once, where three refused codes lock it: one login, and all end with code 0."""
    with sandbox_of(lock_after=3) as cli:
        _ = cli.secrets
        running = [cli.start("check") for _ in range(processes)]
        codes = Counter(one.finish(patience=600.0).code for one in running)
        record = cli.record()
    logins = Counter(one["status"] for one in record["requests"] if one["endpoint"] == "login")
    (user,) = record["users"]
    assert codes == {0: processes}, codes
    assert (user["failures"], user["locked_until"]) == (0, 0), user
    assert logins == {401: 1, 200: 1}, logins  # the password, then the code: once for all
    return {"processes": processes, "codes": dict(codes), "codes refused": 0, "logins": logins[200], "lock-outs": 0}


def skew(minutes: float = 10.0, every: int = 3) -> Figures:
    """A machine whose clock is wrong, by libfaketime, at moments all over a time step: no login is refused."""
    refused = []
    for offset, moment in itertools.product((-minutes, minutes), range(0, 30, every)):
        with sandbox_of(lock_after=2, clock_offset=float(moment)) as cli:
            environment = {
                "FAKETIME": f"{offset * 60:+.0f}s",
                "LD_PRELOAD": _faketime(),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            ended = cli.start("check", **environment).finish(patience=600.0)
            assert ended.code == 0, ended.stderr
            (told,) = ended.events("login.clock_skew")[:1]
            assert abs(told["skew_seconds"] + offset * 60 - moment) < 5, told
            record = cli.record()
            refused.append(sum(user["failures"] for user in record["users"]))
            assert [one["status"] for one in record["requests"] if one["endpoint"] == "login"] == [401, 200]
    assert max(refused) == 0
    return {"skew in minutes": [-minutes, minutes], "runs": len(refused), "refused logins": sum(refused)}


def _faketime() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise SystemExit("libfaketime is not installed")
    return str(found[0])


class Account(NamedTuple):
    """What a process needs for the account: a server's address, a user, and where the state is."""

    base_url: str
    username: str
    password: str
    totp_seed: str
    home: Path

    @classmethod
    def of(cls, cli: CommandLine) -> "Account":
        """The account of a command line's sandbox."""
        known = cli.server.credentials
        return cls(cli.server.base_url, known["username"], known["password"], known["totp_seed"], cli.home)


OpenStore = Callable[[Account], AbstractAsyncContextManager[AccountStore]]


@asynccontextmanager
async def _in_directory(account: Account) -> AsyncIterator[AccountStore]:
    yield directory_store(account.home / "state", account.base_url, account.username)


def refresh(
    rounds: int = 20,
    processes: int = 256,
    opened: OpenStore = _in_directory,
    prepare: Callable[[], None] = _nothing,
    host: str = "127.0.0.1",
) -> Figures:
    """Processes that find one expired session at once: one refreshes, the others use what it got; no family revoked.

    `prepare` is called in each process first; the sandbox listens at `host`.
    """
    with sandbox_of(mfa="none", access_token_seconds=86_400, host=host) as cli:
        account = Account.of(cli)
        assert asyncio.run(_session(account, opened)) is not None
        began = time.monotonic()
        for number in range(1, rounds + 1):
            asyncio.run(_expire(opened(account)))
            tokens = _at_once(account, opened, processes, prepare)
            assert len(tokens) == 1, f"round {number}: {len(tokens)} different tokens"
            seen = Counter(one["endpoint"] for one in cli.record()["requests"])
            assert (seen["refresh"], seen["login"]) == (number, 1), (number, seen)
        revoked = sum(session["revoked"] for session in cli.record()["sessions"])
        assert revoked == 0
        assert list((cli.home / "state").glob("sessions/*.corrupt*")) == []
    took = round((time.monotonic() - began) / rounds, 2)
    return {
        "rounds": rounds,
        "processes": processes,
        "refreshes a round": 1,
        "revoked": 0,
        "corrupt": 0,
        "seconds a round": took,
    }


async def _expire(opening: AbstractAsyncContextManager[AccountStore]) -> None:
    async with opening as store, store.hold(Deadline(CLOCK)) as held:
        assert held.state.session is not None
        held.change(session=replace(held.state.session, expires_at=CLOCK.time() - 1))


def _at_once(account: Account, opened: OpenStore, processes: int, prepare: Callable[[], None]) -> set[str]:
    """Start processes, let all begin together, and gather the tokens that they got."""
    start, begin = FORKS.Pipe(duplex=False)
    told, tell = FORKS.Pipe(duplex=False)
    children = [
        FORKS.Process(target=_refresh_once, args=(start, tell, account, opened, prepare)) for _ in range(processes)
    ]
    for child in children:
        child.start()
    for ours in (start, begin, tell):
        ours.close()  # the children's read ends when nobody can write
    raw = b""
    while part := os.read(told.fileno(), 65536):
        raw += part
    told.close()
    for child in children:
        child.join()
    codes = Counter(child.exitcode for child in children)
    assert codes == {0: processes}, codes
    lines = raw.decode().split()
    assert len(lines) == processes
    return set(lines)


def _refresh_once(
    start: Connection, tell: Connection, account: Account, opened: OpenStore, prepare: Callable[[], None]
) -> None:
    prepare()
    os.read(start.fileno(), 1)
    try:
        session = asyncio.run(_session(account, opened))
    except RunnerError as error:
        sys.exit(f"process {os.getpid()}: {error}")
    os.write(tell.fileno(), session.access_token[-40:].encode() + b"\n")


async def _session(account: Account, opened: OpenStore) -> UserSession:
    async with opened(account) as store:
        return await _session_in(store, account)


async def _session_in(store: AccountStore, account: Account) -> UserSession:
    base_url, tls = account.base_url, tls_context(account.base_url, None)
    client = Client(base_url, clock=CLOCK, policy=Policy(), request_timeout=60.0, tls=tls)
    provider = LoginSessionProvider(
        client=client,
        auth=profiles.load("garminsync").auth,
        base_url=base_url,
        credentials=Credentials(account.username, account.password, parse_seed(account.totp_seed)),
        store=store,
        clock=CLOCK,
    )
    try:
        return await provider.session(Deadline.after(CLOCK, 120.0, "the test's deadline"), Observer(CLOCK))
    finally:
        await client.close()


@asynccontextmanager
async def in_postgresql(url: str, account: Account) -> AsyncIterator[AccountStore]:
    from runner.state.postgresql import PostgresqlState
    from tests.support.postgresql import PASSWORD

    state = PostgresqlState(url, PASSWORD, 1, CLOCK)
    try:
        yield state.account(account_key(account.base_url, account.username), AccountOptions(Codec(), print))
    finally:
        await state.close()


def refresh_postgresql(rounds: int = 20, processes: int = 256) -> Figures:
    """As `refresh`, with the state in PostgreSQL: directly, and through a PgBouncer in transaction mode."""
    from tests.support.postgresql import pgbouncer, postgresql

    with postgresql() as server, pgbouncer(server, connections=20) as bouncer:
        return {
            name: refresh(rounds, processes, partial(in_postgresql, url))
            for name, url in (("PostgreSQL", server.url), ("PgBouncer", bouncer.url))
        }


def crash(kills: int = 1000, seed: int = 1, prepare: Callable[[], None] = _nothing) -> Figures:
    """Writers killed at random moments: what is read is the last state that was confirmed, or the one after it."""
    rng = random.Random(seed)
    between = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store = _store(directory)
        store._save(_numbered(0))
        confirmed = 0
        for _ in range(kills):
            told, tell = FORKS.Pipe(duplex=False)
            child = FORKS.Process(target=_write_on, args=(tell, directory, confirmed, prepare))
            child.start()
            tell.close()
            raw = os.read(told.fileno(), 8)  # it begins
            time.sleep(rng.uniform(0.0, 0.01))
            child.kill()
            child.join()
            while part := os.read(told.fileno(), 65536):
                raw += part
            told.close()
            confirmed = int.from_bytes(raw[-8:], "big")
            found = load(_store(directory))
            assert found.last_step in (confirmed, confirmed + 1), (found.last_step, confirmed)
            assert _tokens(found) == _tokens(_numbered(found.last_step))
            between += found.last_step == confirmed + 1
            confirmed = found.last_step
        remaining = len(list((directory / "sessions").glob(".*.tmp")))
    return {"kills": kills, "old or new": kills, "neither": 0, "new but not confirmed": between, "left over": remaining}


def _write_on(tell: Connection, directory: Path, number: int, prepare: Callable[[], None]) -> None:
    """Save state after state, and say the number of each that is kept."""
    prepare()
    store = _store(directory)
    while True:
        os.write(tell.fileno(), number.to_bytes(8, "big"))
        number += 1
        store._save(_numbered(number))


def _numbered(number: int) -> AccountState:
    return AccountState(session(f"token-{number}" * 50, refresh_token=f"refresh-{number}" * 50), last_step=number)


def _tokens(state: AccountState) -> tuple[str, str | None]:
    """What is kept of a session, without the ids: those are made with a key of each process."""
    assert state.session is not None
    return state.session.access_token, state.session.refresh_token


def _store(directory: Path) -> DirectoryStore:
    return directory_store(directory, warn=_no_warning)


def _no_warning(text: str) -> None:
    raise AssertionError(text)


_WRITER = """
import os, sys
from pathlib import Path
from runner.errors import RunnerError
from tests.campaign.login import _numbered, _store
store = _store(Path(sys.argv[1]))
store._place.sessions()
os.getsid(0)
try:
    store._save(_numbered(2))
except RunnerError as error:
    print(error)
    os._exit(3)
os.getsid(0)
os._exit(0)
"""
_ERRORS = ("ENOSPC", "EIO", "EACCES", "EINTR")


def syscalls() -> Figures:
    """Each system call of the store's write path fails in turn: the store is the old one or the new one, never neither."""
    assert shutil.which("strace"), "strace is not installed"
    calls = _write_path()
    outcomes: Counter[str] = Counter()
    for name, ordinal in calls:
        for error in _ERRORS:
            outcomes[_injected(name, ordinal, error)] += 1
    assert sum(outcomes.values()) == len(calls) * len(_ERRORS)
    return {"calls": [name for name, _ in calls], "errors": list(_ERRORS), "outcomes": dict(outcomes), "neither": 0}


def _trace(directory: Path, *options: str) -> tuple[int, str, str]:
    with tempfile.NamedTemporaryFile("r") as log:
        done = subprocess.run(
            ["strace", "-f", "-o", log.name, *options, sys.executable, "-c", _WRITER, str(directory)],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr, log.read()


def _write_path() -> list[tuple[str, int]]:
    """The calls between the two markers, each with its ordinal among the calls of its name."""
    with tempfile.TemporaryDirectory() as name:
        _store(Path(name))._save(_numbered(1))
        code, told, log = _trace(Path(name))
        assert code == 0, told
    seen: Counter[str] = Counter()
    path: list[tuple[str, int]] = []
    inside = False
    for line in log.splitlines():
        call = re.match(r"\d+\s+(\w+)\(", line)
        if not call:
            continue
        seen[call[1]] += 1
        if call[1] == "getsid":
            inside = not inside
        elif inside:
            path.append((call[1], seen[call[1]]))
    assert {"openat", "write", "fsync", "close"} <= {name for name, _ in path}, path
    return path


def _injected(name: str, ordinal: int, error: str) -> str:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        store = _store(directory)
        store._save(_numbered(1))
        code, told, _ = _trace(directory, "-e", f"inject={name}:error={error}:when={ordinal}")
        found = load(_store(directory))
        assert found in (_numbered(1), _numbered(2)), (name, error)
        assert "Traceback" not in told, (name, error, told)
        if code == 0:
            assert found == _numbered(2), (name, error, told)
            return "went on with the new one"
        assert code == 3, (name, error, code, told)
        assert "cannot be kept" in told, told
        return "clear error, the old one stands" if found == _numbered(1) else "clear error, the new one stands"


CAMPAIGNS: dict[str, Callable[[], Figures]] = {
    "parallel": parallel,
    "skew": skew,
    "refresh": refresh,
    "refresh_postgresql": refresh_postgresql,
    "crash": crash,
    "syscalls": syscalls,
}


if __name__ == "__main__":
    main(CAMPAIGNS, __doc__)
