"""Stores of account states for tests: opened, read and written without an event loop of the test's own."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from runner.clock import Clock, Deadline, SystemClock
from runner.state.directory import DirectoryState, DirectoryStore
from runner.state.interface import AccountOptions, AccountStore, account_key
from runner.state.record import AccountState, Codec

CLOCK = SystemClock()


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


def load(store: AccountStore) -> AccountState:
    """What the store holds."""
    return asyncio.run(store.read(Deadline(CLOCK)))


def save(store: AccountStore, state: AccountState) -> None:
    """Put `state` in the place of what the store holds."""

    async def replace_all() -> None:
        async with store.hold(Deadline(CLOCK)) as held:
            held.change(**{one.name: getattr(state, one.name) for one in fields(state)})

    asyncio.run(replace_all())
