"""The interface of state for `sync-runner state`, in addition to that for runs: list, prune, copy and close."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from runner.clock import Deadline
from runner.frozen import Frozen
from runner.state.entry import COLUMNS, Entry

NAMES = tuple(name.strip() for name in COLUMNS.split(","))
_DEFAULTS = {"foreign_job": False, "carried": "{}", "holder": "", "lease_until": 0.0}


class Target(Frozen):
    """The ledger's data of one account: `target` names base URL and user; the number of syncs, and of open ones."""

    target: str
    account: str
    syncs: int
    open: int
    newest: float


@runtime_checkable
class StateInventory(Protocol):
    """The accounts' states of one place."""

    name: str

    async def keys(self, deadline: Deadline) -> list[str]:
        """Returns the keys (`account_key`) with stored state, sorted."""
        ...

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """Deletes the unlocked accounts that were not used for `keep` seconds. Returns their number."""
        ...


class LedgerInventory(Protocol):
    """The ledger of one place."""

    async def targets(self, deadline: Deadline) -> list[Target]:
        """Returns the data of each account."""
        ...

    async def page(self, after: str, deadline: Deadline, *, unfinished: bool = False) -> list[Entry]:
        """Returns the next entries by key, those with a greater one than `after`; `unfinished`: only open ones."""
        ...

    async def put(self, entries: Sequence[Entry], deadline: Deadline) -> None:
        """Adds entries. An existing entry that has ended stays unchanged."""
        ...

    async def fence(self, deadline: Deadline) -> bool:
        """Refuses every change from now on, also by running processes; returns false, without effect, where a run is active."""
        ...

    async def unfence(self, deadline: Deadline) -> None:
        """Accepts changes again."""
        ...

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """Deletes the ended syncs that began before `keep` seconds ago. Returns their number."""
        ...


def as_document(entry: Entry) -> dict[str, Any]:
    """Returns the entry by the names of COLUMNS."""
    return dict(zip(NAMES, entry.as_row(), strict=True))


def of_document(found: Mapping[str, Any]) -> Entry:
    """Returns the entry that `as_document` wrote. Raises ValueError or TypeError for anything else."""
    return Entry.of_row([found.get(name, _DEFAULTS.get(name)) for name in NAMES])
