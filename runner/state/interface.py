"""The interface of a kind of state. One module here per kind: memory, directory, kubernetes, postgresql.

An account's state is loaded once, under the account's lock. What must be on disk before a code or a refresh token is
sent is saved by `keep`; the rest is saved when the lock is released.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from runner.clock import Deadline
from runner.errors import RunnerError
from runner.external import ExternalText
from runner.frozen import Frozen
from runner.models import JSON
from runner.state.entry import Entry
from runner.state.record import AccountState, Codec

SEED = "seed-"  # the beginning of a seed's storage name; an account's has hexadecimal digits alone
FINISH_SECONDS = 2.0  # for the last save and the unlock: SIGTERM allows 8 s for everything


class AccountOptions(Frozen):
    """What a store needs for one account: how its state is encoded, and where warnings go."""

    codec: Codec
    warn: Callable[[str], None]


class HeldState(Protocol):
    """An account's state while its lock is held."""

    @property
    def state(self) -> AccountState:
        """The state, with all changes so far."""
        ...

    def change(self, **fields: Any) -> None:
        """Changes fields of the state in memory. They are saved by the next `keep`, or when the lock is released."""
        ...

    async def keep(self) -> None:
        """Saves the state now: the next step must not happen before it is stored. Raises what a store raises."""
        ...


class LoadedState:
    """The held state of every kind: changes in memory, and a function that saves them."""

    def __init__(self, state: AccountState, now: float, save: Callable[[AccountState], Awaitable[None]]) -> None:
        """`state` was loaded at Unix time `now`; `save` replaces it in the store."""
        self.state = state.believable(now)
        self._saved = state
        self._save = save

    @property
    def changed(self) -> bool:
        """Whether there are unsaved changes."""
        return self.state != self._saved

    def change(self, **fields: Any) -> None:
        """As in HeldState."""
        self.state = replace(self.state, **fields)

    async def keep(self) -> None:
        """As in HeldState."""
        if self.changed:
            state = self.state
            await self._save(state)
            self._saved = state

    @asynccontextmanager
    async def finished_by(
        self, finish: Callable[[AccountState | None], Awaitable[None]], warn: Callable[[str], None]
    ) -> AsyncIterator["LoadedState"]:
        """Yields this state; then calls `finish`, which saves the state it receives and unlocks.

        Where the work failed, its error has priority: a store failure is then only a warning.
        """
        try:
            yield self
        except BaseException:
            try:
                await finish(self.state if self.changed else None)
            except RunnerError as error:
                warn(str(error))
            raise
        await finish(self.state if self.changed else None)


class AccountStore(Protocol):
    """Stores one account's state.

    Every method raises StateError for a fault that a person must correct, Unreachable for a store that does not respond,
    SecretError for a state that needs another key, and DeadlineExceeded.
    """

    async def read(self, deadline: Deadline) -> AccountState:
        """Reads the stored state without the lock; an empty state where nothing is stored."""
        ...

    def hold(self, deadline: Deadline) -> AbstractAsyncContextManager[HeldState]:
        """Locks the account against other processes and loads its state. Saves the changes, then unlocks."""
        ...


class Turn(Protocol):
    """The lock of one trigger while it is held."""

    @property
    def remaining(self) -> float:
        """Seconds for which it is certainly ours, by our own clock: no request may be sent after them."""
        ...


class EndlessTurn:
    """A lock that its holder cannot lose while it lives: the kernel's, or one within this process."""

    remaining = float("inf")


class JobLedger(Protocol):
    """The triggered syncs: intents, jobs, leases, ends. `target` names base URL and user.

    Every method raises UsageError for a fault that a person must correct, Unreachable for a store that does not respond, and
    DeadlineExceeded. An intent is on disk when `intend` returns.
    """

    async def open(self, deadline: Deadline) -> None:
        """Opens the store, so that its faults are reported before anything is sent."""
        ...

    def alone(self, target: str, name: str, deadline: Deadline) -> AbstractAsyncContextManager[Turn]:
        """Locks the sync against other processes, from reading the ledger until the job is recorded."""
        ...

    async def intend(self, entry: Entry, deadline: Deadline) -> None:
        """Records, before the trigger is sent, that it will be."""
        ...

    async def lease(self, key: str, holder: str, *, now: float, until: float, deadline: Deadline) -> bool:
        """Takes or renews the lease of an entry until Unix time `until`.

        False where another holder's is still valid; then that holder is told that its job is `watched` until `until`.
        """
        ...

    async def renew(
        self, holders: Mapping[str, str], *, now: float, until: float, deadline: Deadline
    ) -> frozenset[str]:
        """As `lease`, for several entries in one write: the holder of each key. Returns the keys whose lease was given."""
        ...

    async def watched(self, key: str, now: float, deadline: Deadline) -> bool:
        """Whether a process other than the lease's holder polls the job of an entry, at Unix time `now`."""
        ...

    async def triggered(
        self,
        key: str,
        job_id: ExternalText | str,
        deadline: Deadline,
        *,
        external: bool = False,
        carried: Mapping[str, JSON] | None = None,
    ) -> None:
        """Records the job and the carried values of its trigger's response; `external`: another's job, adopted while it
        runs.

        A write that takes longer than the deadline is finished later, as in `ended`.
        """
        ...

    async def ended(
        self,
        key: str,
        outcome: str,
        at: float,
        deadline: Deadline,
        *,
        processed: int | None = None,
        error: str | None = None,
    ) -> None:
        """Records the outcome, at Unix time `at`."""
        ...

    async def open_entry(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """Returns the newest open sync of that name: a killed run's, or another process's."""
        ...

    async def last_success(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """Returns the newest completed sync of that name; not another's job, which may have covered other days."""
        ...

    async def completed_under(self, target: str, name: str, run_key: str, deadline: Deadline) -> Entry | None:
        """Returns the completed sync of that name from an earlier try of the same run (setting `run.key`)."""
        ...

    async def newest(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """Returns the newest sync of that name, whatever its outcome."""
        ...

    async def of_job(self, target: str, job_id: ExternalText | str, deadline: Deadline) -> Entry | None:
        """Returns the sync of that job."""
        ...

    async def recent(self, limit: int, deadline: Deadline) -> list[Entry]:
        """Returns the newest syncs of all accounts, newest first."""
        ...

    async def close(self, deadline: Deadline) -> None:
        """Finishes pending writes, for a short time, and closes files and connections."""
        ...


class State(Protocol):
    """Stores the state of every account of a run."""

    def account(self, key: str, options: AccountOptions) -> AccountStore:
        """Returns the store of one account (`account_key`), or of a seed's used steps (`seed_key`). Raises StateError."""
        ...

    async def close(self) -> None:
        """Closes files and connections."""
        ...


def account_key(base_url: str, username: str) -> str:
    """Returns the storage name of an account's state: a hash, so that no file name shows a user's name."""
    return _hashed(base_url, username)


def seed_key(fingerprint: str) -> str:
    """Returns the storage name of a TOTP seed's used time steps, whichever accounts use it."""
    return f"{SEED}{fingerprint}"


def trigger_key(target: str, name: str) -> str:
    """Returns the name of the lock of a sync's trigger."""
    return f"trigger-{_hashed(target, name)}"


def _hashed(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
