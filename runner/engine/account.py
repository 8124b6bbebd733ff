"""Opens one account: reads its secrets, builds its client, session store and job API, and closes them."""
# Decision 0033.

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.auth.code_sources.interface import Ask, CodeOptions, CodeSource
from runner.auth.code_sources.kinds import open_source
from runner.auth.interface import SessionProvider
from runner.clock import Clock, Deadline
from runner.engine import logins
from runner.engine.fleet import AccountPlan
from runner.engine.logins import LoginTools
from runner.events import events
from runner.events.observer import Observer
from runner.events.redaction import AddSecret
from runner.frozen import Frozen
from runner.http import correlation
from runner.http.client import Client, check_base_url, tls_context
from runner.http.proxies import Proxies, Proxy
from runner.http.retry import Policy
from runner.jobs.api import JobApi
from runner.profile import Profile
from runner.secrets.reader import SecretReader
from runner.settings import Settings
from runner.state.interface import AccountOptions, AccountStore, account_key, seed_key
from runner.state.opening import RunState, StateOptions, open_state
from runner.state.record import Codec

if TYPE_CHECKING:
    from runner.http.streaming import SideClient


class Account(Frozen):
    """An open account. `target` names base URL and user in the ledger."""

    name: str
    target: str
    provider: SessionProvider
    api: JobApi
    codes: CodeSource


class RunContext(Frozen):
    """What every account uses. `learn` receives each secret; `clean` redacts them in a text.

    `meanwhile` is called once, while the response to the first request is pending. `ask` asks a person on a terminal.
    """

    settings: Settings
    profile: Profile
    clock: Clock
    add_secret: AddSecret
    environment: dict[str, str]
    run_id: str = ""
    redact: Callable[[str], str] = str
    meanwhile: Callable[[], None] = lambda: None
    ask: Ask | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        profile: Profile,
        clock: Clock,
        add_secret: AddSecret,
        run_id: str = "",
        redact: Callable[[str], str] = str,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> "RunContext":
        """Uses the process's environment. `run_id` goes with every request."""
        return cls(settings, profile, clock, add_secret, dict(os.environ), run_id, redact, meanwhile)

    @property
    def concurrency(self) -> int:
        """How many syncs of one account may run at once: one where the API shows the status of only one job."""
        return self.settings.concurrency if self.profile.jobs.single is None else 1


@asynccontextmanager
async def open_client(context: RunContext, at_once: int = 1, *, connect_patience: float = 0.0) -> AsyncIterator[Client]:
    """Creates the one client of a run, whose connections and retries all accounts share; `at_once`: accounts at work.

    A run waits `connect_patience` seconds for a connection to the API; other commands do not wait.
    Raises UsageError before anything is sent.
    """
    settings = context.settings
    client = _client(context, settings.base_url, settings.tls.ca_file, at_once, connect_patience)
    for address, ca_file in logins.addresses(settings):
        client.others[address] = _client(context, address, ca_file, at_once, connect_patience)
    try:
        yield client
    finally:
        await client.close()


def _client(context: RunContext, address: str, ca_file: Path | None, at_once: int, connect_patience: float) -> Client:
    settings = context.settings
    check_base_url(address, allow_http=settings.tls.allow_http)
    return Client(
        address,
        clock=context.clock,
        policy=Policy(settings.retry.attempts, settings.retry.wait, settings.retry.max_wait, connect_patience),
        request_timeout=settings.deadline.request,
        tls=tls_context(address, ca_file),
        headers=correlation.headers(context.run_id, context.environment),
        meanwhile=context.meanwhile,
        connections=settings.limits.connections,
        retries=settings.retry.budget * at_once,
        errors=context.profile.errors,
        proxy=_proxy(context, address),
    )


def side_client(context: RunContext) -> "SideClient":
    """Creates a separate client for data that affects no outcome: logs, results, files."""
    from runner.http.streaming import Elsewhere, SideClient

    settings = context.settings
    elsewhere = Elsewhere(
        hosts=settings.artifacts.redirect_hosts,
        tls=lambda url: tls_context(url, settings.tls.ca_file, and_public=True),
        proxy=lambda url: _proxy(context, url),
    )
    return SideClient(
        settings.base_url,
        clock=context.clock,
        idle=settings.deadline.request,
        tls=tls_context(settings.base_url, settings.tls.ca_file),
        headers=correlation.headers(context.run_id, context.environment),
        proxy=_proxy(context, settings.base_url),
        elsewhere=elsewhere,
    )


def _proxy(context: RunContext, address: str) -> Proxy | None:
    proxy = Proxies.of(context.environment).through(address)
    if proxy is not None and proxy.password:
        context.add_secret(proxy.password)
    return proxy


def state_password(context: RunContext) -> str | None:
    """Returns the database's password (the secret `state_password`), where the state is in one. Raises SecretError."""
    settings = context.settings
    if settings.state.url is None:
        return None
    reader = SecretReader(
        settings.secrets_dir,
        environment=context.environment,
        named=settings.secret_sources,
        warn=lambda _secret, _warning: None,
    )
    password = reader.read("state_password")
    if password:
        context.add_secret(password)
    return password


@asynccontextmanager
async def opened_state(context: RunContext, observer: Observer, deadline: Deadline) -> AsyncIterator[RunState]:
    """Opens the run's state, which all accounts share. Raises UsageError."""
    settings = context.settings
    password = state_password(context)
    most = settings.limits.state_connections

    def warn(problem: str) -> None:
        observer.emit(events.StoreProblem(problem))

    state = open_state(
        StateOptions(settings.state, context.environment, context.clock, password, most, context.redact, warn)
    )
    try:
        yield state
    finally:
        await state.close(deadline)


def open_account(
    plan: AccountPlan, context: RunContext, client: Client, state: RunState, observer: Observer
) -> Account:
    """Opens the account. Raises SecretError or UsageError before anything is sent."""
    settings = context.settings
    reader = _reader(plan, context, observer)
    by_record = settings.code.source != "totp" and settings.state.lasting
    codes = open_source(
        CodeOptions(
            settings.code,
            reader,
            context.clock,
            context.add_secret,
            plan.name,
            open_inbox(plan, context, state, observer) if by_record else None,
            context.ask,
            lambda seed: state.account(seed_key(seed), _written(reader, context, observer)),
        )
    )
    tools = LoginTools(
        reader=reader,
        client=client,
        clock=context.clock,
        add_secret=context.add_secret,
        account=plan.name,
        store=lambda key, identity: _store(state, reader, context, key, identity, observer),
        codes=codes,
    )
    provider, identity = logins.provider(logins.logins(settings, context.profile), settings.base_url, tools)
    api = JobApi(client, context.profile, provider, plan.name, settings.params)
    return Account(plan.name, f"{settings.base_url} {identity}", provider, api, codes)


def _reader(plan: AccountPlan, context: RunContext, observer: Observer) -> SecretReader:
    return SecretReader(
        plan.secrets_dir,
        environment=context.environment,
        use_environment=plan.use_environment,
        named=context.settings.secret_sources,
        warn=lambda secret, warning: observer.emit(events.SecretWarning(secret, warning)),
    )


def open_inbox(plan: AccountPlan, context: RunContext, state: RunState, observer: Observer) -> AccountStore:
    """Returns the account's inbox for `submit-code`: a separate record, since the waiting run locks the account's."""
    reader = _reader(plan, context, Observer(context.clock))
    return _store(state, reader, context, f"{context.settings.base_url} one-time codes", plan.name, observer)


def _store(
    state: RunState, reader: SecretReader, context: RunContext, key: str, identity: str, observer: Observer
) -> AccountStore:
    """Returns the store of the account's session."""
    return state.account(account_key(key, identity), _written(reader, context, observer))


def _written(reader: SecretReader, context: RunContext, observer: Observer) -> AccountOptions:
    """Returns the codec of a record: it encrypts where the secret `state_key` is given."""
    state_key = reader.read("state_key")
    if state_key:
        context.add_secret(state_key)
    codec = Codec(state_key.split(",") if state_key else ())

    def warn(problem: str) -> None:
        observer.emit(events.StoreProblem(problem))

    return AccountOptions(codec, warn)
