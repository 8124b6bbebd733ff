"""What a kind of state must offer. One file beside this one for each kind: memory, directory, kubernetes.

An account's state is loaded once, under the account's lock. What must be on disk before a code or a refresh token leaves
is saved by `keep`; the rest is saved when the lock is given back.
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

FINISH_SECONDS = 2.0  # for the last save and the unlock: SIGTERM allows 8 s for everything


class AccountOptions(Frozen):
    """What a store needs for one account: how its state is written, and who is told of a problem."""

    codec: Codec
    warn: Callable[[str], None]


class HeldState(Protocol):
    """An account's state while its lock is held."""

    @property
    def state(self) -> AccountState:
        """The state, with every change so far."""
        ...

    def change(self, **fields: Any) -> None:
        """Change fields of the state in memory. They are saved by the next `keep`, or when the lock is given back."""
        ...

    async def keep(self) -> None:
        """Save the state now: what follows must not happen before it is kept. Raises what a store raises."""
        ...


class LoadedState:
    """The held state of every kind: changes in memory, and a function that saves them."""

    def __init__(self, state: AccountState, now: float, save: Callable[[AccountState], Awaitable[None]]) -> None:
        """`state` is what was loaded at Unix time `now`; `save` replaces it in the store."""
        self.state = state.believable(now)
        self._saved = state
        self._save = save

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
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
        """Yield this state; then `finish`, which saves the state it is given and unlocks.

        Where the work failed, its error counts: a store that fails now is only warned of.
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
    """Keeps one account's state.

    Every method raises StateError for a fault that a person must mend, Unreachable for a store that does not answer,
    SecretError for a state that needs another key, and DeadlineExceeded.
    """

    async def read(self, deadline: Deadline) -> AccountState:
        """What is kept, without the lock; an empty state where nothing is kept."""
        ...

    def hold(self, deadline: Deadline) -> AbstractAsyncContextManager[HeldState]:
        """Lock the account against other processes and load its state. Saves what changed, then unlocks."""
        ...


class Turn(Protocol):
    """The lock of one trigger while it is held."""

    @property
    def remaining(self) -> float:
        """Seconds for which it is certainly ours, by our own clock: nothing may be sent beyond them."""
        ...


class EndlessTurn:
    """A lock that its holder cannot lose while it lives: the kernel's, or of one process alone."""

    remaining = float("inf")


class JobLedger(Protocol):
    """The syncs that were triggered: intents, jobs, leases, ends. `target` names base URL and user.

    Every method raises UsageError for a fault that a person must mend, Unreachable for a store that does not answer, and
    DeadlineExceeded. What `intend` was given is on disk when it returns.
    """

    async def open(self, deadline: Deadline) -> None:
        """Open the store, so that what is wrong with it is told before anything is sent."""
        ...

    def alone(self, target: str, name: str, deadline: Deadline) -> AbstractAsyncContextManager[Turn]:
        """Hold the sync against other processes, from the look into the ledger until the job stands in it."""
        ...

    async def intend(self, entry: Entry, deadline: Deadline) -> None:
        """Remember, before the trigger leaves, that it is about to."""
        ...

    async def lease(self, key: str, holder: str, *, now: float, until: float, deadline: Deadline) -> bool:
        """Take or renew the lease of an entry until Unix time `until`; false where another holder's has not run out."""
        ...

    async def renew(
        self, holders: Mapping[str, str], *, now: float, until: float, deadline: Deadline
    ) -> frozenset[str]:
        """As `lease`, of several entries in one write: the holder of each key. The keys whose lease was given."""
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
        """Remember the job, and what its trigger's answer carried; `external`: another's, adopted because it runs.

        What takes longer than the deadline is finished later, as in `ended`.
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
        """Remember how it ended, at Unix time `at`."""
        ...

    async def open_entry(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """The newest sync of that name that has no end: a killed run's, or another process's."""
        ...

    async def last_success(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """The newest completed sync of that name; not by another's job, which may have covered other days."""
        ...

    async def completed_under(self, target: str, name: str, run_key: str, deadline: Deadline) -> Entry | None:
        """The completed sync of that name which an earlier try of the same run (setting `run.key`) left behind."""
        ...

    async def newest(self, target: str, name: str, deadline: Deadline) -> Entry | None:
        """The newest sync of that name, whatever became of it."""
        ...

    async def of_job(self, target: str, job_id: ExternalText | str, deadline: Deadline) -> Entry | None:
        """The sync whose job that is."""
        ...

    async def recent(self, limit: int, deadline: Deadline) -> list[Entry]:
        """The newest syncs of all accounts, newest first."""
        ...

    async def close(self, deadline: Deadline) -> None:
        """Finish what is being written, for a short time, and close files and connections."""
        ...


class State(Protocol):
    """A place that keeps the state of every account of a run."""

    def account(self, key: str, options: AccountOptions) -> AccountStore:
        """The store of one account (`account_key`), or of the used steps of a seed (`seed_key`). Raises StateError."""
        ...

    async def close(self) -> None:
        """Close files and connections."""
        ...


def account_key(base_url: str, username: str) -> str:
    """The name under which an account's state is kept: a hash, so that no file name shows a user's name."""
    return _hashed(base_url, username)


def seed_key(fingerprint: str) -> str:
    """The name under which the used time steps of a TOTP seed are kept, whichever accounts use it."""
    return f"seed-{fingerprint}"


def trigger_key(target: str, name: str) -> str:
    """The name of the lock of a sync's trigger."""
    return f"trigger-{_hashed(target, name)}"


def _hashed(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
