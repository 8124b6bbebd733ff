"""Opens the kind of state that the settings name.

A kind that this package does not provide is looked up among the entry points of the group `sync_runner.state`, by the
scheme of `state.url`, and only when it is named.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from runner.clock import Clock, Deadline
from runner.errors import UsageError
from runner.frozen import Frozen
from runner.settings.sections import StateSettings
from runner.state.interface import FINISH_SECONDS, AccountOptions, AccountStore, JobLedger, State
from runner.state.mid_run import MidRunStore

GROUP = "sync_runner.state"


class StateOptions(Frozen):
    """What a kind of state needs: the section `state`, the environment, the clock, the limit and the password."""

    settings: StateSettings
    environment: Mapping[str, str]
    clock: Clock
    password: str | None = None  # the secret `state_password`
    connections: int = 4  # at most (limits.state_connections)
    redact: Callable[[str], str] = str
    warn: Callable[[str], None] = lambda _problem: None


class OpenState(Protocol):
    """The type of the group's entry points."""

    def __call__(self, options: StateOptions) -> State:
        """Returns the state that `options.settings.url` names. Raises StateError; does not block."""
        ...


class RunState:
    """The persistent state of a process: the accounts' states and the ledger of jobs."""

    def __init__(self, accounts: State, ledger: JobLedger, clock: Clock) -> None:
        """Opened by `open_state`, closed here."""
        self.accounts, self.ledger, self._clock = accounts, ledger, clock
        self._stores: list[MidRunStore] = []

    def account(self, key: str, options: AccountOptions) -> AccountStore:
        """As in State."""
        store = MidRunStore(self.accounts.account(key, options), self._clock, options.warn)
        self._stores = [one for one in self._stores if one.unkept]  # a run may have thousands of accounts
        self._stores.append(store)
        return store

    async def close(self, deadline: Deadline) -> None:
        """Finishes pending writes, for a short time, and closes everything."""
        within = Deadline.after(self._clock, FINISH_SECONDS, "the time to save").min(deadline)
        try:
            await asyncio.gather(*(store.settle(within) for store in self._stores))
            await self.ledger.close(within)
        finally:
            await self.accounts.close()


def open_state(options: StateOptions) -> RunState:
    """Opens the state that the settings name; in memory where they name none. Raises UsageError. Sends and reads nothing yet."""
    accounts = _accounts(options)
    ledger: Callable[[StateOptions], JobLedger] = getattr(accounts, "ledger", _sqlite)
    return RunState(accounts, ledger(options), options.clock)


def _sqlite(options: StateOptions) -> JobLedger:
    from runner.state.sqlite_ledger import SqliteLedger

    settings = options.settings
    return SqliteLedger(settings.dir, options.clock, redact=options.redact, warn=options.warn, keep=settings.keep)


def _accounts(options: StateOptions) -> State:
    settings = options.settings
    if settings.url is not None:
        scheme = settings.url.partition("://")[0]
        if scheme in ("postgresql", "postgres"):
            from runner.state.postgresql import PostgresqlState

            return PostgresqlState(settings.url, options.password, options.connections, options.clock)
        return _external(scheme)(options)
    if settings.kubernetes_secret is not None:
        from runner.state.kubernetes import Cluster, KubernetesState

        return KubernetesState(
            Cluster.of_pod(options.environment), settings.kubernetes_secret, options.clock, settings.keep
        )
    if settings.dir is not None:
        from runner.state.directory import DirectoryState

        return DirectoryState(settings.dir, options.clock)
    from runner.state.memory import MemoryState

    return MemoryState()


def _external(scheme: str) -> OpenState:
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise UsageError(
            f"state.url: unknown kind of state `{scheme}` (entry points of `{GROUP}`: {known}); use postgresql, "
            "set state.dir, or install the package that provides it"
        )
    opened: OpenState = found[0].load()
    return opened
