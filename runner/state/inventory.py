"""What `sync-runner state` needs of a kind of state beyond what a run needs: to list, prune, copy and close it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from runner.clock import Deadline
from runner.frozen import Frozen
from runner.state.entry import COLUMNS, Entry

NAMES = tuple(name.strip() for name in COLUMNS.split(","))
_DEFAULTS = {"foreign_job": False, "carried": "{}", "holder": "", "lease_until": 0.0}


class Target(Frozen):
    """What the ledger has of one account: `target` names base URL and user; how many syncs, and how many are open."""

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
        """The keys (`account_key`) under which something is kept, sorted."""
        ...

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """Forget the accounts that nobody used for `keep` seconds and nobody holds. Returns how many."""
        ...


class LedgerInventory(Protocol):
    """The ledger of one place."""

    async def targets(self, deadline: Deadline) -> list[Target]:
        """What is there of each account."""
        ...

    async def page(self, after: str, deadline: Deadline, *, unfinished: bool = False) -> list[Entry]:
        """The next entries by key, those with a greater one than `after`; `unfinished`: only open ones."""
        ...

    async def put(self, entries: Sequence[Entry], deadline: Deadline) -> None:
        """Add entries. One that is there and has ended stays as it is."""
        ...

    async def fence(self, deadline: Deadline) -> bool:
        """Refuse every change from now on, also to processes at work; false, and nothing done, where a run is active."""
        ...

    async def unfence(self, deadline: Deadline) -> None:
        """Accept changes again."""
        ...

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """Forget the ended syncs that began before `keep` seconds ago. Returns how many."""
        ...


def as_document(entry: Entry) -> dict[str, Any]:
    """The entry by the names of COLUMNS."""
    return dict(zip(NAMES, entry.as_row(), strict=True))


def of_document(found: Mapping[str, Any]) -> Entry:
    """The entry that `as_document` wrote. Raises ValueError or TypeError for anything else."""
    return Entry.of_row([found.get(name, _DEFAULTS.get(name)) for name in NAMES])
