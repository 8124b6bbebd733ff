"""One account ready to work: its secrets read, its client, token store and job API put together, and closed again."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runner.auth.credentials import Credentials, read_credentials
from runner.auth.interface import SessionProvider
from runner.auth.session import LoginSessionProvider
from runner.auth.static import StaticSessionProvider
from runner.clock import Clock
from runner.engine.fleet import AccountPlan
from runner.events import events
from runner.events.observer import Observer
from runner.frozen import Frozen
from runner.http import correlation
from runner.http.client import Client, check_base_url, tls_context
from runner.http.proxies import Proxies, Proxy
from runner.http.retry import Policy
from runner.jobs.api import JobApi
from runner.profile import Profile
from runner.secrets.reader import SecretReader
from runner.settings import Settings
from runner.state.interface import AccountOptions, AccountStore, State, account_key
from runner.state.opening import StateOptions, open_state
from runner.state.record import Codec


class Account(Frozen):
    """An account at work. `target` names base URL and user in the ledger."""

    name: str
    target: str
    provider: SessionProvider
    api: JobApi


class RunContext(Frozen):
    """What every account needs from outside. `learn` is told each secret; `clean` takes them out of a text again.

    `meanwhile` is called once, while the answer to the first request is awaited.
    """

    settings: Settings
    profile: Profile
    clock: Clock
    add_secret: Callable[[str], None]
    environment: dict[str, str]
    run_id: str = ""
    redact: Callable[[str], str] = str
    meanwhile: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls,
        settings: Settings,
        profile: Profile,
        clock: Clock,
        add_secret: Callable[[str], None],
        run_id: str = "",
        redact: Callable[[str], str] = str,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> "RunContext":
        """With the process's environment. `run_id` goes with every request."""
        return cls(settings, profile, clock, add_secret, dict(os.environ), run_id, redact, meanwhile)


@asynccontextmanager
async def open_client(context: RunContext, at_once: int = 1) -> AsyncIterator[Client]:
    """The one client of a run, whose connections and retries all accounts share; so many of them work `at_once`.

    Raises UsageError before anything is sent.
    """
    settings = context.settings
    check_base_url(settings.base_url, allow_http=settings.tls.allow_http)
    client = Client(
        settings.base_url,
        clock=context.clock,
        policy=Policy(settings.retry.attempts, settings.retry.wait, settings.retry.max_wait),
        request_timeout=settings.deadline.request,
        tls=tls_context(settings.base_url, settings.tls.ca_file),
        headers=correlation.headers(context.run_id, context.environment),
        meanwhile=context.meanwhile,
        connections=settings.limits.connections,
        retries=settings.retry.budget * at_once,
        rate_limit=context.profile.errors.rate_limit,
        proxy=_proxy(context),
    )
    try:
        yield client
    finally:
        await client.close()


def _proxy(context: RunContext) -> Proxy | None:
    proxy = Proxies.of(context.environment).through(context.settings.base_url)
    if proxy is not None and proxy.password:
        context.add_secret(proxy.password)
    return proxy


@asynccontextmanager
async def opened_state(context: RunContext) -> AsyncIterator[State]:
    """The one state of a run, which all accounts share. Raises UsageError."""
    state = open_state(StateOptions(context.settings.state, context.environment, context.clock))
    try:
        yield state
    finally:
        await state.close()


def open_account(plan: AccountPlan, context: RunContext, client: Client, state: State, observer: Observer) -> Account:
    """The account, ready to work. Raises SecretError or UsageError before anything is sent."""
    settings = context.settings
    reader = SecretReader(
        plan.secrets_dir,
        environment=context.environment,
        use_environment=plan.use_environment,
        named=settings.secret_sources,
        warn=lambda secret, warning: observer.emit(events.SecretWarning(secret, warning)),
    )
    credentials = read_credentials(reader, context.profile.auth, context.add_secret)
    identity = credentials.identity or plan.name
    store = None if context.profile.auth.static else _store(state, reader, context, identity, observer)
    provider = _keeper(reader, plan, context, client, credentials, store)
    api = JobApi(client, context.profile, provider, plan.name, settings.params)
    return Account(plan.name, f"{settings.base_url} {identity}", provider, api)


def _keeper(
    reader: SecretReader,
    plan: AccountPlan,
    context: RunContext,
    client: Client,
    credentials: Credentials,
    store: AccountStore | None,
) -> SessionProvider:
    auth = context.profile.auth

    def reread() -> Credentials:
        return read_credentials(reader, auth, context.add_secret)

    if store is None:
        return StaticSessionProvider(auth=auth, credentials=credentials, account=plan.name, reread=reread)
    return LoginSessionProvider(
        client=client,
        auth=auth,
        base_url=context.settings.base_url,
        credentials=credentials,
        store=store,
        clock=context.clock,
        add_secret=context.add_secret,
        reread=reread,
        account=plan.name,
    )


def _store(state: State, reader: SecretReader, context: RunContext, identity: str, observer: Observer) -> AccountStore:
    """Where the account's session is kept, encrypted where the secret `state_key` is given."""
    state_key = reader.read("state_key")
    if state_key:
        context.add_secret(state_key)
    codec = Codec(state_key.split(",") if state_key else ())

    def warn(problem: str) -> None:
        observer.emit(events.StoreProblem(problem))

    return state.account(account_key(context.settings.base_url, identity), AccountOptions(codec, warn))
