"""Reads accounts from a table of the state's database (`accounts_query`), once, before a command uses them."""
# Decision 0183.

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runner.clock import GRACE, Deadline
from runner.engine import signals
from runner.engine.account import RunContext, state_password
from runner.engine.event_loop import complete
from runner.errors import StateError, UsageError, nearest
from runner.external import MAX_WORDS, show
from runner.settings import Settings
from runner.settings.sections import AccountSettings

_LOOK = 0.1  # seconds between two checks for a signal, which is recorded before a run handles it


def with_accounts(context: RunContext) -> RunContext:
    """Returns the context with the accounts of the query; unchanged where there is none.

    Raises UsageError for an unusable query or row, Unreachable for a database that is down, and SystemExit
    after a signal.
    """
    settings = context.settings
    if settings.accounts_query is None:
        return context
    for name in ("accounts", "accounts_dir"):
        if getattr(settings, name):
            raise UsageError(f"accounts_query: `{name}` is also set; keep one of them")
    if (settings.state.url or "").partition("://")[0] not in ("postgresql", "postgres"):
        raise UsageError("accounts_query: uses the state's database; set state.url to a postgresql:// address")
    rows = complete(_rows(context, settings.accounts_query))
    accounts = tuple(_account(number, row, settings) for number, row in enumerate(rows, 1))
    if not accounts:
        raise UsageError("accounts_query: returned no row; each row is an account")
    return replace(context, settings=settings.model_copy(update={"accounts": accounts, "accounts_query": None}))


async def _rows(context: RunContext, query: str) -> list[Any]:
    """Returns the query's rows as JSON. A signal ends the wait for the database."""
    from runner.state.postgresql_connections import Connections

    settings = context.settings
    connections = Connections(settings.state.url or "", state_password(context), 1, context.clock)
    deadline = Deadline.after(context.clock, settings.deadline.run, "the run's deadline", GRACE)
    asked = query.strip().rstrip(";").replace("%", "%%")  # psycopg treats % as a placeholder
    reading = asyncio.ensure_future(
        connections.rows(f"SELECT row_to_json(accounts) FROM ({asked}\n) AS accounts", {}, deadline)
    )
    try:
        while not reading.done():
            await asyncio.wait({reading}, timeout=_LOOK)
            if (signal := signals.noted()) is not None:
                raise SystemExit(signals.code(signal))
        return [row[0] for row in reading.result()]
    except StateError as error:
        raise UsageError(
            f"accounts_query: {error}; give one SELECT whose rows have `name` and, where needed, {_others('name')}"
        ) from None
    finally:
        reading.cancel()
        await connections.close()


def _account(number: int, row: Any, settings: Settings) -> AccountSettings:
    """Returns the account of a row. Raises UsageError naming the row and its column."""
    known, given = AccountSettings.model_fields, row if isinstance(row, dict) else {}
    where = f"accounts_query: row {number}"
    for column in given.keys() - known:
        near = nearest(column, known)
        hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
        raise UsageError(f"{where}: no such column `{show(column, MAX_WORDS)}`; {hint}")
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}: `name` is not text; each row needs the account's name")
    folder = given.get("secrets_dir") or name
    if not isinstance(folder, str) or (folder == name and Path(name).name != name):
        raise UsageError(
            f"{where}: `secrets_dir` is not text; give the account's folder, below secrets_dir or absolute"
        )
    try:
        return AccountSettings(name=name, secrets_dir=settings.secrets_dir / folder, syncs=given.get("syncs"))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise UsageError(
            f"{where} ({show(name, MAX_WORDS)}): {place}: {fault['msg'].removeprefix('Value error, ')}"
        ) from None


def _others(without: str) -> str:
    return ", ".join(f"`{name}`" for name in AccountSettings.model_fields if name != without)
