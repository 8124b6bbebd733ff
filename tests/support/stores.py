"""Stores of account states for tests: opened, read and written without an event loop of the test's own."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from runner.clock import Clock, Deadline, SystemClock
from runner.state.directory import DirectoryState, DirectoryStore
from runner.state.interface import AccountOptions, AccountStore, State, account_key
from runner.state.record import AccountState, Codec

CLOCK = SystemClock()
T = TypeVar("T")
OPENED: list[State] = []  # states whose connections `run` closes


def directory_store(
    directory: Path,
    base_url: str = "https://x.example",
    username: str = "user",
    clock: Clock = CLOCK,
    warn: Callable[[str], None] = print,
    codec: Codec | None = None,
) -> DirectoryStore:
    """The store of one account in a state directory, as a new run opens it."""
    return DirectoryState(directory, clock).account(
        account_key(base_url, username), AccountOptions(codec or Codec(), warn)
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work in an event loop of its own, and close the connections that it opened there."""

    async def and_close() -> T:
        try:
            return await work
        finally:
            for state in OPENED:
                await state.close()

    return asyncio.run(and_close())


def load(store: AccountStore) -> AccountState:
    """What the store holds."""
    return run(store.read(Deadline(CLOCK)))


def save(store: AccountStore, state: AccountState) -> None:
    """Put `state` in the place of what the store holds."""

    async def replace_all() -> None:
        async with store.hold(Deadline(CLOCK)) as held:
            held.change(**{one.name: getattr(state, one.name) for one in fields(state)})

    run(replace_all())
