"""Which kind of state the settings name, and how it is opened.

A kind that this package does not know is looked up among the entry points of the group `sync_runner.state`, by the scheme
of `state.url`, and only when it is named.
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
    """What a kind may need to open: the section `state`, the environment, the clock, and the bound and password."""

    settings: StateSettings
    environment: Mapping[str, str]
    clock: Clock
    password: str | None = None  # the secret `state_password`
    connections: int = 4  # at most (limits.state_connections)
    redact: Callable[[str], str] = str
    warn: Callable[[str], None] = lambda _problem: None


class OpenState(Protocol):
    """What an entry point of the group names."""

    def __call__(self, options: StateOptions) -> State:
        """The state that `options.settings.url` names. Raises StateError; does not block."""
        ...


class RunState:
    """All that a process keeps between runs: the accounts' states, and the ledger of jobs."""

    def __init__(self, accounts: State, ledger: JobLedger, clock: Clock) -> None:
        """Opened by `open_state`, and closed here."""
        self.accounts, self.ledger, self._clock = accounts, ledger, clock
        self._stores: list[MidRunStore] = []

    def account(self, key: str, options: AccountOptions) -> AccountStore:
        """As in State."""
        store = MidRunStore(self.accounts.account(key, options), self._clock, options.warn)
        self._stores = [one for one in self._stores if one.unkept]  # thousands of accounts come and go
        self._stores.append(store)
        return store

    async def close(self, deadline: Deadline) -> None:
        """Finish what is being written, for a short time, and close everything."""
        try:
            within = Deadline.after(self._clock, FINISH_SECONDS, "the time to save").min(deadline)
            await asyncio.gather(*(store.settle(within) for store in self._stores))
            await self.ledger.close(deadline)
        finally:
            await self.accounts.close()


def open_state(options: StateOptions) -> RunState:
    """The state that the settings name; in memory where they name none. Raises UsageError. Nothing is sent or read yet."""
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
            f"state.url: no kind of state is called `{scheme}` (entry points of `{GROUP}`: {known}); use postgresql, "
            "set state.dir, or install the package that brings it"
        )
    opened: OpenState = found[0].load()
    return opened
