"""Describes the stored state of each account, without secrets: for `sync-runner state show`."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.clock import Deadline, rfc3339
from runner.engine.account import RunContext
from runner.engine.fleet import AccountPlan, configured
from runner.errors import RunnerError, SecretError, StateError, UsageError
from runner.external import show
from runner.secrets.reader import SecretReader
from runner.state.entry import Entry
from runner.state.interface import AccountOptions, account_key
from runner.state.inventory import Target
from runner.state.moving import Place
from runner.state.record import AccountState, Codec

Document = dict[str, Any]
_SHOWN = 500  # characters of one value


async def kept(place: Place, context: RunContext, deadline: Deadline, wanted: Callable[[str], bool]) -> Document:
    """Returns the accounts and open syncs whose names `wanted` accepts; an account without a known name is always shown."""
    targets = await place.ledger.targets(deadline)
    names, keys = _known(context, targets)
    codec = Codec(keys)
    accounts = []
    for key in await place.accounts.keys(deadline):
        if key not in names or wanted(names[key]):
            accounts.append(await _account(place, key, names.get(key), codec, deadline))
    unfinished = [
        _sync(entry) async for page in place.pages(deadline, unfinished=True) for entry in page if wanted(entry.account)
    ]
    counted = [one for one in targets if wanted(one.account)]
    return {
        "state": place.accounts.name,
        "accounts": sorted(accounts, key=lambda one: (one["account"] or "~", one["key"])),
        "open_syncs": unfinished,
        "syncs": sum(one.syncs for one in counted),
        "newest_sync": rfc3339(max(one.newest for one in counted)) if counted else None,
    }


def _known(context: RunContext, targets: list[Target]) -> tuple[dict[str, str], list[str]]:
    """Returns the accounts' names by their keys, from ledger and secrets, and each mounted `state_key`."""
    settings = context.settings
    places = [
        settings.base_url,
        *(f"{one.address or settings.base_url} {Path(one.use).stem}" for one in settings.login),
    ]
    names: dict[str, str] = {}
    keys: list[str] = []
    for target in targets:
        base_url, _, identity = target.target.partition(" ")
        names |= {account_key(place, identity): target.account for place in (base_url, *places)}
    for name, reader in _readers(context):
        with suppress(RunnerError):
            identity = reader.read("username") or name
            names |= {account_key(place, identity): name for place in places}
        with suppress(RunnerError):
            keys += (reader.read("state_key") or "").split(",")
    return names, [key for key in dict.fromkeys(keys) if key]


def _readers(context: RunContext) -> Iterator[tuple[str, SecretReader]]:
    """Yields the secrets of each configured account; none where the settings name missing accounts."""
    plans: tuple[AccountPlan, ...] = ()
    with suppress(UsageError):
        plans = configured(context.settings)
    for plan in plans:
        yield (
            plan.name,
            SecretReader(
                plan.secrets_dir,
                environment=context.environment,
                use_environment=plan.use_environment,
                named=context.settings.secret_sources,
                warn=lambda _secret, _warning: None,
            ),
        )


async def _account(place: Place, key: str, name: str | None, codec: Codec, deadline: Deadline) -> Document:
    found: Document = {"key": key, "account": None if name is None else show(name, _SHOWN), "note": None}
    empty = dict.fromkeys(
        ("session_expires_at", "session_renewable", "last_code_at", "refused_logins", "cooldown_until", "blocked")
    )
    try:
        store = place.state.accounts.account(key, AccountOptions(codec, place.warn))
        return found | empty | _described(await store.read(deadline))
    except (SecretError, StateError) as error:
        return found | empty | {"note": str(error)}


def _described(state: AccountState) -> Document:
    """Returns times, counts and marks. Contains no token, in whole or in part."""
    session = state.session
    return {
        "session_expires_at": rfc3339(session.expires_at) if session and session.expires_at else None,
        "session_renewable": None if session is None else session.refresh_token is not None,
        "last_code_at": rfc3339(state.last_step * 30.0) if state.last_step else None,
        "refused_logins": state.failures,
        "cooldown_until": rfc3339(state.cooldown_until) if state.cooldown_until else None,
        "blocked": state.blocked,
    }


def _sync(entry: Entry) -> Document:
    return {
        "account": show(entry.account, _SHOWN),
        "name": show(entry.name, _SHOWN),
        "sync_type": show(entry.sync_type, _SHOWN),
        "job_id": None if entry.shown_id is None else show(entry.shown_id, _SHOWN),
        "triggered_at": rfc3339(entry.intended_at),
        "polled_until": rfc3339(entry.lease_until) if entry.holder and entry.lease_until else None,
    }
