"""A thousand broken states of each store: set aside with one warning, never believed, and a run goes on."""

import asyncio
import base64
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner import profile as profiles
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import RunnerError, StateError
from runner.events.observer import Observer
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.state.interface import AccountOptions
from runner.state.memory import MemoryStore
from runner.state.record import AccountState, Codec
from tests.support.login_model import FakeClock
from tests.support.sessions import session
from tests.support.stores import directory_store

COUNT = 1000
NOW = FakeClock().time()
WHOLE = AccountState(
    session("token", refresh_token="again", expires_at=NOW + 900), last_step=60_000_000, failures=2,
    cooldown_until=NOW + 300, skew=1.5, assume_used_until=NOW, since=NOW, refused_cause="password", refused_secrets="00:11", refused_at=NOW,
)  # fmt: skip
EVIL: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 1024, 10**400, -(10**400), 1e308, -1e308, float("nan"), float("inf"), 1e18, "", "7",
    "\x00", "a\r\nb: c", "é", "\ud800", "x" * 100_000, [], {}, [[]], {"a": {}}, {"": None},
)  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _places(data: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in data.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from _places(value, (*at, name))


def broken(seed: int) -> Iterator[bytes]:
    """States of which something is wrong: a value, a key, the text, the bytes."""
    choose = random.Random(seed)
    whole = Codec().encode(WHOLE)
    for _ in range(COUNT):
        data = json.loads(whole)
        kind = choose.randrange(8)
        if kind == 0:
            raw = bytearray(whole)
            for _ in range(choose.randrange(1, 4)):
                raw[choose.randrange(len(raw))] = choose.randrange(256)
            yield bytes(raw)
        elif kind == 1:
            yield whole[: choose.randrange(len(whole))]
        elif kind == 2:
            yield b"[" * choose.randrange(1, 200_000) if choose.random() < 0.5 else b'{"a":' * 50_000
        else:
            for _ in range(choose.randrange(1, 3)):
                *path, last = choose.choice(list(_places(data)))
                inner = data
                for name in path:
                    inner = inner[name] if isinstance(inner, dict) and name in inner else {}
                if isinstance(inner, dict):
                    inner[last] = _nested(500) if choose.random() < 0.05 else choose.choice(EVIL)
                    if choose.random() < 0.1:
                        del inner[last]
            yield json.dumps(data).encode()


def _login(state: AccountState, clock: FakeClock) -> None:
    """A run that begins with this state; its API takes everything."""
    tokens = {"access_token": "new", "refresh_token": "newer", "expires_in": 900}
    client = Client(
        "https://sync.example.org", clock=clock, policy=Policy(2, 0.0, 0.0), request_timeout=5.0,
        tls=tls_context("http://localhost", None),
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, json=tokens)),
    )  # fmt: skip
    provider = LoginSessionProvider(
        client=client, auth=profiles.load("garminsync").auth, base_url="https://sync.example.org",
        credentials=Credentials("me", "geheim", Seed(b"0123456789")), store=MemoryStore(state), clock=clock,
    )  # fmt: skip

    async def work() -> None:
        first = await provider.session(Deadline.after(clock, 600, "the run"), Observer(clock))
        provider.headers(first)
        await provider.session(Deadline.after(clock, 600, "the run"), Observer(clock), rejected=first)

    try:
        asyncio.run(work())
    except RunnerError as error:  # such as a cool-down: a clear answer, and no defect
        assert "no login is tried" in str(error), error


def _judged(loaded: AccountState, warnings: list[str], clock: FakeClock) -> bool:
    """Whether it was set aside. What was believed has only values that a runner writes."""
    if loaded == AccountState(assume_used_until=loaded.assume_used_until) and warnings:
        assert len(warnings) == 1
        return True
    assert Codec().decode(Codec().encode(loaded)) == loaded
    assert loaded.cooldown_until <= clock.time() + 6 * 3600
    assert loaded.assume_used_until <= clock.time() + 3600
    assert not warnings
    return False


def test_a_thousand_broken_files_are_set_aside_or_mean_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the slowest part, and not what is tested
    clock, warnings, aside = FakeClock(), list[str](), 0
    store = directory_store(tmp_path, clock=clock, warn=warnings.append)
    store._place.sessions()
    for number, raw in enumerate(broken(1)):
        store.path.unlink(missing_ok=True)
        store.path.touch(0o600)
        store.path.write_bytes(raw)
        warnings.clear()
        try:
            loaded, told = store._load()
        except StateError as error:
            assert "a newer sync-runner wrote it" in str(error)
            continue
        loaded = loaded.believable(clock.time())
        aside += _judged(loaded, told, clock)
        if number % 5 == 0:  # the slowest part
            _login(loaded, clock)
    assert aside > COUNT / 2


def test_a_thousand_broken_values_of_a_secret_count_as_empty_or_mean_what_they_say() -> None:
    from runner.state.kubernetes import Cluster, KubernetesState

    clock, warnings, aside = FakeClock(), list[str](), 0
    cluster = Cluster("https://x", "syncs", Path("/nowhere"), tls=tls_context("https://x", None))
    store = KubernetesState(cluster, "sessions", clock).account("key", AccountOptions(Codec(), warnings.append))
    for raw in broken(2):
        warnings.clear()
        try:
            loaded = store._state({"data": {"key.json": base64.b64encode(raw).decode()}}).believable(clock.time())
        except StateError as error:
            assert "a newer sync-runner wrote it" in str(error)
            continue
        aside += _judged(loaded, warnings, clock)
    assert aside > COUNT / 2
    odds: tuple[Any, ...] = ("!", 5, [], {"a": 1}, "é", "AAA")
    for odd in odds:
        assert store._state({"data": {"key.json": odd}}).session is None
