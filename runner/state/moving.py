"""Moves state to another place, or into a document and out of it. Every record is copied unchanged.

A move first closes the old place: its ledger refuses every change, and each account gets a mark there, under its lock. So a
run that still uses the old place, or was running unnoticed, starts nothing in parallel to a run at the new one.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, StateError, UsageError
from runner.external import MAX_WORDS, show
from runner.frozen import Frozen
from runner.state.entry import Entry
from runner.state.interface import AccountOptions, HeldState
from runner.state.inventory import LedgerInventory, StateInventory, as_document, of_document
from runner.state.opening import RunState
from runner.state.record import AccountState, Codec, moved_to

FORMAT, VERSION = "sync-runner state", 1
# Decision 0181.
BUSY_SECONDS = 5.0  # longest wait for an account's lock: a running login counts as an active run
_ACTIVE = "a run is active; wait until it has ended (a killed run's leases end after two minutes), then try again"
_RAW = "raw"


class AsWritten(Codec):
    """Carries a record without decoding it: encrypted data stays encrypted, and no key is needed."""

    def decode(self, raw: bytes) -> AccountState:
        """Returns the record, carried in `unknown`. Raises ValueError for an invalid record."""
        record = json.loads(raw)
        if not isinstance(record, dict) or type(record.get("schema")) is not int:
            raise ValueError
        return AccountState(unknown={_RAW: record})

    def encode(self, stored: AccountState) -> bytes:
        """Returns the unchanged record; one that the store created in place of a corrupt one is encoded as by a run."""
        record = stored.unknown.get(_RAW)
        return super().encode(stored) if record is None else json.dumps(record).encode()


def record_of(state: AccountState) -> dict[str, Any] | None:
    """Returns the record that AsWritten carries; None where nothing is stored."""
    if _RAW not in state.unknown:
        return None if state == AccountState() else json.loads(Codec().encode(state))
    record: dict[str, Any] = state.unknown[_RAW]
    return record


class Place(Frozen):
    """One place with state, opened."""

    state: RunState
    clock: Clock
    warn: Callable[[str], None]

    @property
    def accounts(self) -> StateInventory:
        """Returns the accounts' states. Raises UsageError for a kind that cannot list them."""
        if not isinstance(self.state.accounts, StateInventory):
            raise UsageError("state: this kind of state cannot list its accounts; use the tools of its package")
        return self.state.accounts

    @property
    def ledger(self) -> LedgerInventory:
        """Returns the ledger. Raises UsageError for a kind that cannot list it."""
        found = getattr(self.state.ledger, "inventory", None)
        if found is None:
            raise UsageError("state: this kind of state cannot list its ledger; use the tools of its package")
        inventory: LedgerInventory = found
        return inventory

    async def records(self, deadline: Deadline) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yields each account's key and record, except those that were moved away."""
        for key in await self.accounts.keys(deadline):
            record = record_of(await self._store(key).read(deadline))
            if record is not None and "moved" not in record:
                yield key, record

    async def pages(self, deadline: Deadline, *, unfinished: bool = False) -> AsyncIterator[list[Entry]]:
        """Yields the entries by pages, ordered by key; `unfinished`: only the open ones."""
        after = ""
        while page := await self.ledger.page(after, deadline, unfinished=unfinished):
            after = page[-1].key
            yield page

    @asynccontextmanager
    async def held(self, key: str, deadline: Deadline) -> AsyncIterator[HeldState]:
        """Holds the account under its lock. Raises StateError where a run holds it."""
        within = Deadline.after(self.clock, BUSY_SECONDS, "the patience").min(deadline)
        try:
            async with self._store(key).hold(within) as held:
                yield held
        except DeadlineExceeded:
            raise StateError(f"{self.accounts.name}: account {key[:8]}: {_ACTIVE}") from None

    def _store(self, key: str) -> Any:
        return self.state.accounts.account(key, AccountOptions(AsWritten(), self.warn))


class Taken(Frozen):
    """The numbers of copied accounts and syncs."""

    accounts: int
    syncs: int


async def move(source: Place, target: Place, deadline: Deadline, *, replace: bool, without_ledger: bool) -> Taken:
    """Moves everything from `source` to `target`, and leaves marks. Raises StateError where a run is active.

    An interrupted move is finished by the next one: what the target already has stays unchanged.
    """
    if source.accounts.name == target.accounts.name:
        raise UsageError(f"state move: {source.accounts.name} already has the state; give another place with --to")
    syncs = sum(one.syncs for one in await source.ledger.targets(deadline))
    if not await source.ledger.fence(deadline):
        raise StateError(f"state move: {source.accounts.name}: {_ACTIVE}")
    if not without_ledger:
        await target.ledger.unfence(deadline)
        for unfinished in (True, False):  # the open ones first: a run that starts early at the new place must know them
            async for page in source.pages(deadline, unfinished=unfinished):
                await target.ledger.put(page, deadline)
    accounts = 0
    for key in await source.accounts.keys(deadline):
        accounts += await _move_account(source, target, key, deadline, replace=replace)
    return Taken(accounts, 0 if without_ledger else syncs)


async def _move_account(source: Place, target: Place, key: str, deadline: Deadline, *, replace: bool) -> bool:
    async with source.held(key, deadline) as old:
        record = record_of(old.state)
        if record is None or "moved" in record:
            return False
        await _put(target, key, record, deadline, replace=replace)
        old.change(unknown={_RAW: json.loads(moved_to(target.accounts.name))})
        await old.keep()
    return True


async def _put(target: Place, key: str, record: dict[str, Any], deadline: Deadline, *, replace: bool) -> None:
    """Raises StateError where the target has another state of that account."""
    async with target.held(key, deadline) as new:
        there = record_of(new.state)
        if there is not None and "moved" not in there and there != record and not replace:
            raise StateError(
                f"{target.accounts.name}: account {key[:8]} has another state there, which may be newer; check with "
                "`sync-runner state show`, and add --replace to overwrite it"
            )
        new.change(unknown={_RAW: record})
        await new.keep()


async def exported(source: Place, when: str, deadline: Deadline) -> AsyncIterator[str]:
    """Yields the document in parts: JSON with a line for each account and each sync."""
    head = {"format": FORMAT, "version": VERSION, "exported_at": when, "from": source.accounts.name}
    yield json.dumps(head)[:-1] + ', "accounts": {'
    comma = "\n"
    async for key, record in source.records(deadline):
        yield f"{comma}{json.dumps(key)}: {json.dumps(record)}"
        comma = ",\n"
    yield '\n}, "syncs": ['
    comma = "\n"
    async for page in source.pages(deadline):
        for entry in page:
            yield f"{comma}{json.dumps(as_document(entry))}"
            comma = ",\n"
    yield "\n]}\n"


class Document(Frozen):
    """The content of an exported document."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    syncs: tuple[Entry, ...] = ()


def read_document(content: bytes) -> Document:
    """Parses the document, validated as a whole before anything is written. Raises UsageError naming the place of a fault."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError("not JSON; give a file that `sync-runner state export` wrote") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"`format` is not `{FORMAT}`; give a file that `sync-runner state export` wrote")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise UsageError("`version` is invalid; give a file that `sync-runner state export` wrote")
    if version > VERSION:
        raise UsageError(
            f"a newer sync-runner wrote it (version {version}, this one knows {VERSION}); use that version"
        )
    accounts, syncs = data.get("accounts"), data.get("syncs")
    if not isinstance(accounts, dict) or not isinstance(syncs, list):
        raise UsageError("`accounts` or `syncs` is missing; give a complete file of `sync-runner state export`")
    return Document(
        {key: _record(key, one) for key, one in accounts.items()},
        tuple(_entry(number, one) for number, one in enumerate(syncs)),
    )


def _record(key: str, found: Any) -> dict[str, Any]:
    if len(key) != 32 or not set(key) <= set("0123456789abcdef"):
        raise UsageError(f"accounts.{show(key, MAX_WORDS)}: not the key of an account (32 hexadecimal digits)")
    try:
        raw = json.dumps(found).encode()
        if isinstance(found, dict) and "sealed" not in found:
            Codec().decode(raw)
        record = record_of(AsWritten().decode(raw))
    except (ValueError, TypeError, AttributeError):
        record = None
    if record is None:
        raise UsageError(f"accounts.{key}: not a state that sync-runner wrote; remove it from the file")
    return record


def _entry(number: int, found: Any) -> Entry:
    try:
        return of_document(found)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"syncs[{number}]: not a sync that sync-runner wrote; remove it from the file") from None


async def imported(document: Document, target: Place, deadline: Deadline, *, replace: bool) -> Taken:
    """Adds the document's content. Raises StateError where a login is running, or an account has another state there."""
    await target.ledger.unfence(deadline)
    for first in range(0, len(document.syncs), 1000):
        await target.ledger.put(document.syncs[first : first + 1000], deadline)
    for key, record in document.accounts.items():
        await _put(target, key, record, deadline, replace=replace)
    return Taken(len(document.accounts), len(document.syncs))
