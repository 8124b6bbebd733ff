"""Login under load, crash and failing system calls, judged by the server's record. `python -m tests.campaign.login NAME`.

Each campaign returns its figures, and fails where a promise is broken.
"""

import asyncio
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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
from tests.support.stores import directory_store, load, save

CLOCK = SystemClock()


@contextmanager
def desk_of(**settings: Any) -> Iterator[CommandLine]:
    """A desk of its own, and nothing left of it afterwards."""
    with (
        tempfile.TemporaryDirectory() as home,
        SandboxServer(SandboxSettings(port=0, kdf="fast", **settings)) as server,
    ):
        yield CommandLine(server, Path(home))


def parallel(processes: int = 20) -> Figures:
    """Cold runs of one account at once, where three refused codes lock it: one login, and all end with code 0."""
    with desk_of(lock_after=3) as cli:
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
        with desk_of(lock_after=2, clock_offset=float(moment)) as cli:
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


OpenStore = Callable[[CommandLine], AccountStore]


def _in_directory(cli: CommandLine) -> AccountStore:
    return directory_store(cli.home / "state", cli.server.base_url, cli.server.settings.username)


def refresh(rounds: int = 20, processes: int = 256, opened: OpenStore = _in_directory) -> Figures:
    """Processes that find one expired session at once: one refreshes, the others use what it got; no family revoked."""
    with desk_of(mfa="none", access_token_seconds=86_400) as cli:
        assert asyncio.run(_session(cli, opened(cli))) is not None
        began = time.monotonic()
        for number in range(1, rounds + 1):
            kept = load(opened(cli))
            assert kept.session is not None
            save(opened(cli), replace(kept, session=replace(kept.session, expires_at=CLOCK.time() - 1)))
            tokens = _at_once(cli, opened, processes)
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


def _at_once(cli: CommandLine, opened: OpenStore, processes: int) -> set[str]:
    """Fork, let all begin together, and gather the tokens that they got."""
    start_read, start_write = os.pipe()
    end_read, end_write = os.pipe()
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(start_write)
                os.read(start_read, 1)  # ends when the parent closes its side
                session = asyncio.run(_session(cli, opened(cli)))
                os.write(end_write, session.access_token[-40:].encode() + b"\n")
                code = 0
            except RunnerError as error:
                print(f"process {os.getpid()}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        children.append(child)
    os.close(start_read)
    os.close(start_write)
    os.close(end_write)
    raw = b""
    while part := os.read(end_read, 65536):
        raw += part
    os.close(end_read)
    codes = Counter(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes == {0: processes}, codes
    lines = raw.decode().split()
    assert len(lines) == processes
    return set(lines)


async def _session(cli: CommandLine, store: AccountStore) -> UserSession:
    known = cli.server.credentials
    base_url = cli.server.base_url
    client = Client(
        base_url, clock=CLOCK, policy=Policy(), request_timeout=60.0, tls=tls_context(base_url, None)
    )  # fmt: skip
    provider = LoginSessionProvider(
        client=client,
        auth=profiles.load("garminsync").auth,
        base_url=base_url,
        credentials=Credentials(known["username"], known["password"], parse_seed(known["totp_seed"])),
        store=store,
        clock=CLOCK,
    )
    try:
        return await provider.session(Deadline.after(CLOCK, 120.0, "the test's deadline"), Observer(CLOCK))
    finally:
        await client.close()


def refresh_postgresql(rounds: int = 20, processes: int = 256) -> Figures:
    """As `refresh`, with the state in PostgreSQL: directly, and through a PgBouncer in transaction mode."""
    from tests.support.postgresql import PASSWORD, pgbouncer, postgresql

    def store(url: str, cli: CommandLine) -> AccountStore:
        from runner.state.postgresql import PostgresqlState

        key = account_key(cli.server.base_url, cli.server.settings.username)
        return PostgresqlState(url, PASSWORD, 1, CLOCK).account(key, AccountOptions(Codec(), print))

    with postgresql() as server, pgbouncer(server, connections=20) as bouncer:
        return {
            name: refresh(rounds, processes, partial(store, url))
            for name, url in (("PostgreSQL", server.url), ("PgBouncer", bouncer.url))
        }


def crash(kills: int = 1000, seed: int = 1) -> Figures:
    """Writers killed at random moments: what is read is the last state that was confirmed, or the one after it."""
    rng = random.Random(seed)
    between = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store = _store(directory)
        store._save(_numbered(0))
        confirmed = 0
        for _ in range(kills):
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(read)
                number = confirmed
                while True:
                    number += 1
                    store._save(_numbered(number))
                    os.write(write, number.to_bytes(8, "big"))
            os.close(write)
            time.sleep(rng.uniform(0.0, 0.01))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raw = b""
            while part := os.read(read, 65536):
                raw += part
            os.close(read)
            confirmed = int.from_bytes(raw[-8:], "big") if raw else confirmed
            found = load(_store(directory))
            assert found.last_step in (confirmed, confirmed + 1), (found.last_step, confirmed)
            assert found == _numbered(found.last_step)
            between += found.last_step == confirmed + 1
            confirmed = found.last_step
        remaining = len(list((directory / "sessions").glob(".*.tmp")))
    return {"kills": kills, "old or new": kills, "neither": 0, "new but not confirmed": between, "left over": remaining}


def _numbered(number: int) -> AccountState:
    return AccountState(session(f"token-{number}" * 50, refresh_token=f"refresh-{number}" * 50), last_step=number)


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
