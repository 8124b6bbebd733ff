"""One account ready to work: its secrets read, its client, token store and job API put together, and closed again."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runner.api.client import Client, check_base_url, tls_context
from runner.api.profile import Profile
from runner.api.retry import Policy
from runner.auth.credentials import Credentials, read_credentials
from runner.auth.interface import Keeper
from runner.auth.session import SessionKeeper
from runner.auth.static import StaticKeeper
from runner.auth.store import Store, account_key, open_store
from runner.auth.stored import Codec
from runner.clock import Clock
from runner.fleet import AccountPlan
from runner.frozen import Frozen
from runner.observe import correlation, events
from runner.observe.interface import Observer
from runner.secrets import SecretReader
from runner.settings import Settings
from runner.sync.jobs import JobApi


class Account(Frozen):
    """An account at work. `target` names base URL and user in the ledger."""

    name: str
    target: str
    keeper: Keeper
    api: JobApi


class Surroundings(Frozen):
    """What every account needs from outside. `learn` is told each secret; `clean` takes them out of a text again.

    `meanwhile` is called once, while the answer to the first request is awaited.
    """

    settings: Settings
    profile: Profile
    clock: Clock
    learn: Callable[[str], None]
    environment: dict[str, str]
    run_id: str = ""
    clean: Callable[[str], str] = str
    meanwhile: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls,
        settings: Settings,
        profile: Profile,
        clock: Clock,
        learn: Callable[[str], None],
        run_id: str = "",
        clean: Callable[[str], str] = str,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> "Surroundings":
        """With the process's environment. `run_id` goes with every request."""
        return cls(settings, profile, clock, learn, dict(os.environ), run_id, clean, meanwhile)


@asynccontextmanager
async def open_client(around: Surroundings, at_once: int = 1) -> AsyncIterator[Client]:
    """The one client of a run, whose connections and retries all accounts share; so many of them work `at_once`.

    Raises UsageError before anything is sent.
    """
    settings = around.settings
    check_base_url(settings.base_url, allow_http=settings.tls.allow_http)
    client = Client(
        settings.base_url,
        clock=around.clock,
        policy=Policy(settings.retry.attempts, settings.retry.wait, settings.retry.max_wait),
        request_timeout=settings.deadline.request,
        tls=tls_context(settings.base_url, settings.tls.ca_file),
        headers=correlation.headers(around.run_id, around.environment),
        meanwhile=around.meanwhile,
        connections=settings.limits.connections,
        retries=settings.retry.budget * at_once,
        rate_limit=around.profile.errors.rate_limit,
    )
    try:
        yield client
    finally:
        await client.close()


def open_account(plan: AccountPlan, around: Surroundings, client: Client, observer: Observer) -> Account:
    """The account, ready to work. Raises SecretError or UsageError before anything is sent."""
    settings = around.settings
    reader = SecretReader(
        plan.secrets_dir,
        environment=around.environment,
        use_environment=plan.use_environment,
        warn=lambda secret, warning: observer.emit(events.SecretWarning(secret, warning)),
    )
    credentials = read_credentials(reader, around.profile.auth, around.learn)
    identity = credentials.identity or plan.name
    keeper = _keeper(reader, plan, around, client, credentials, identity, observer)
    api = JobApi(client, around.profile, keeper, plan.name, settings.params)
    return Account(plan.name, f"{settings.base_url} {identity}", keeper, api)


def _keeper(
    reader: SecretReader,
    plan: AccountPlan,
    around: Surroundings,
    client: Client,
    credentials: Credentials,
    identity: str,
    observer: Observer,
) -> Keeper:
    auth = around.profile.auth

    def reread() -> Credentials:
        return read_credentials(reader, auth, around.learn)

    if auth.static:
        return StaticKeeper(auth=auth, credentials=credentials, account=plan.name, reread=reread)
    return SessionKeeper(
        client=client,
        auth=auth,
        base_url=around.settings.base_url,
        credentials=credentials,
        store=_store(reader, around, identity, observer),
        clock=around.clock,
        learn=around.learn,
        reread=reread,
        account=plan.name,
    )


def _store(reader: SecretReader, around: Surroundings, identity: str, observer: Observer) -> Store:
    """Where the account's session is kept, encrypted where the secret `state_key` is given."""
    settings = around.settings
    state_key = reader.read("state_key")
    if state_key:
        around.learn(state_key)
    codec = Codec(state_key.split(",") if state_key else ())

    def warn(problem: str) -> None:
        observer.emit(events.StoreProblem(problem))

    if settings.state.kubernetes_secret is None:
        return open_store(settings.state.dir, settings.base_url, identity, around.clock, warn, codec)
    from runner.auth.kubernetes_store import Cluster, KubernetesStore

    cluster = Cluster.of_pod(around.environment)
    key = account_key(settings.base_url, identity)
    return KubernetesStore(cluster, settings.state.kubernetes_secret, key, around.clock, warn, codec)
