"""Builds the logins of an account: the profile's own, or those that the setting `login` names, in order."""
# Decision 0178.

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.auth.browser import API
from runner.auth.chain import ChainedSessionProvider, GatedSessionProvider
from runner.auth.code_sources.interface import CodeSource
from runner.auth.credentials import Credentials, read_credentials
from runner.auth.interface import SessionProvider
from runner.auth.session import LoginSessionProvider
from runner.auth.static import StaticSessionProvider
from runner.clock import Clock, Deadline
from runner.errors import RunnerError, UsageError
from runner.events import events
from runner.events.observer import Observer
from runner.events.redaction import AddSecret
from runner.frozen import Frozen
from runner.http.client import Client
from runner.profile import Profile, parameters
from runner.profile.loading import load_login
from runner.profile.models import Auth
from runner.secrets.reader import SecretReader
from runner.settings import Settings
from runner.settings.sections import LoginSettings
from runner.state.interface import AccountStore

LOGOUT_SECONDS = 5.0  # at the end of a run, for all sessions together
OWN = "profile"  # the name of the profile's own login among several


class OneLogin(Frozen):
    """One login: its profile, addresses and values. `key` distinguishes its stored state."""

    auth: Auth
    address: str
    params: dict[str, Any]
    secrets: dict[str, str]
    addresses: dict[str, str]
    key: str
    gate: bool = False
    name: str = OWN


class LoginTools(Frozen):
    """Data that the logins of one account share."""

    reader: SecretReader
    client: Client
    clock: Clock
    add_secret: AddSecret
    account: str
    store: Callable[[str, str], AccountStore]  # for an address and login, and for a user
    codes: CodeSource | None = None  # the source of one-time codes; None: TOTP


def logins(settings: Settings, profile: Profile) -> tuple[OneLogin, ...]:
    """Returns the logins in order. Raises UsageError for an unknown one, or for invalid parameters."""
    if not settings.login:
        params = parameters.values(profile, None, settings.params, "params", complete=False)
        return (OneLogin(profile.auth, settings.base_url, params, {}, {}, settings.base_url),)
    found = [_named(one, settings, profile, f"login.{index}") for index, one in enumerate(settings.login)]
    if any(one.gate for one in found[1:]):
        raise UsageError("login: only the first of several can be a gateway")
    for one in found[2 if found[0].gate else 1 :]:
        if one.auth.static:
            raise UsageError(
                "login: only the first of several, or the first behind a gateway, may have no steps; its headers would be lost"
            )
    return tuple(found)


def _named(given: LoginSettings, settings: Settings, profile: Profile, place: str) -> OneLogin:
    own = given.use == OWN
    login = profile if own else load_login(given.use)
    params = parameters.values(
        login, None, settings.params if own else given.params, f"{place}.params", complete=not own
    )
    for name in given.secrets:
        if name not in login.auth.secrets:
            raise UsageError(f"{place}.secrets.{name}: this login has no such secret: {', '.join(login.auth.secrets)}")
    address = given.address or settings.base_url
    for name in sorted(login.auth.addresses - {API, *given.addresses}):
        raise UsageError(f"{place}.addresses.{name}: a request of this login needs this address; set it")
    name = Path(given.use).stem
    return OneLogin(
        login.auth, address, params, given.secrets, dict(given.addresses), f"{address} {name}", given.gate, name
    )


def addresses(settings: Settings) -> Iterator[tuple[str, Path | None]]:
    """Yields each further address of a login, with its CA bundle."""
    for one in settings.login:
        for address in (one.address, *one.addresses.values()):
            if address is not None and address != settings.base_url:
                yield address, one.ca_file or settings.tls.ca_file


def provider(found: tuple[OneLogin, ...], base_url: str, tools: LoginTools) -> tuple[SessionProvider, str]:
    """Returns the session keeper and the user's identity at the API. Raises SecretError."""
    identity = ""
    made: list[SessionProvider] = []
    for one in found:
        read = _reading(one, tools)
        credentials = read()
        identity = identity or credentials.identity or tools.account
        constant = {"account": tools.account, "base_url": base_url, **one.params}
        if one.auth.static:
            store = tools.store(one.key, identity) if "password" in one.auth.secrets else None
            static = StaticSessionProvider(
                auth=one.auth, credentials=credentials, constant=constant, reread=read, store=store, clock=tools.clock,
                name=one.name,
            )  # fmt: skip
            made.append(static)
            continue
        login = LoginSessionProvider(
            client=tools.client.others.get(one.address, tools.client),
            auth=one.auth,
            base_url=one.address,
            credentials=credentials,
            store=tools.store(one.key, credentials.identity or identity),
            clock=tools.clock,
            add_secret=tools.add_secret,
            reread=read,
            constant=constant,
            named=_named_clients(one, tools.client),
            codes=tools.codes,
            name=one.name,
        )
        made.append(login)
    return _in_a_row(made, gate=found[0].gate), identity


def _named_clients(one: OneLogin, client: Client) -> dict[str, Client]:
    """Returns the clients of the addresses that steps may name with `at`, including the API's own."""
    return {API: client} | {name: client.others.get(url, client) for name, url in one.addresses.items()}


def _in_a_row(made: list[SessionProvider], *, gate: bool) -> SessionProvider:
    """Combines all: a chain, optionally behind a gateway."""
    chain = made[1] if gate and len(made) > 1 else made[0]
    for one in made[2 if gate else 1 :]:
        assert isinstance(one, LoginSessionProvider)
        chain = ChainedSessionProvider(chain, one)
    if not gate or len(made) == 1:
        return chain
    return GatedSessionProvider(made[0], chain, [one for one in made[1:] if isinstance(one, LoginSessionProvider)])


async def end_sessions(providers: Sequence[SessionProvider], clock: Clock, observer: Observer) -> None:
    """Ends the sessions that logins of this run started and that are not stored, so that none accumulate at a server."""
    deadline = Deadline.after(clock, LOGOUT_SECONDS, "the time to log out")

    async def end(one: SessionProvider) -> None:
        for part in reversed(one.parts):
            if part.ends:
                try:
                    await part.revoke(deadline, observer)
                except RunnerError as error:
                    observer.emit(events.LoginFailed("logout", str(error)))

    await asyncio.gather(*(end(one) for one in providers))


def _reading(one: OneLogin, tools: LoginTools) -> Callable[[], Credentials]:
    return lambda: read_credentials(tools.reader, one.auth, tools.add_secret, one.secrets)
