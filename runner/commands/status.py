"""The command `status`: shows sessions, tokens and recent jobs, from the API or from the state."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runner.clock import Deadline, rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.errors import ContractError, SecretError, UsageError
from runner.external import escape, show
from runner.models import AuthenticationToken, SyncJob, UserSession
from runner.settings.arguments import loaded
from runner.state.entry import Entry
from runner.state.opening import RunState

_SHOWN = 500  # characters of one value
WIDE = 120  # columns from which jobs are a table: a UUID alone has 36
_SESSION = ("session_id", "user_id", "expires_at", "mfa_enabled", "created_at", "last_used_at")
_TOKEN = (
    "token_id", "user_id", "token_type", "expires_in", "scope", "created_at", "last_used_at", "mfa_verified",
)  # fmt: skip
_JOB = (
    "job_id", "user_id", "status", "progress", "start_time", "end_time", "sync_type", "error_message", "total_items",
    "processed_items",
)  # fmt: skip
_TIMES = ("expires_at", "created_at", "last_used_at")  # Unix seconds in the model
Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="how many jobs at most (default: 10)")
    parser.add_argument("--offline", action="store_true", help="show the stored state; sends no request")
    parser.add_argument("--json", action="store_true", help="one JSON document, with the data model's names")


def execute(arguments: argparse.Namespace) -> int:
    """Prints each account's session, token and recent jobs, newest first."""
    if not 1 <= arguments.limit <= 100:
        raise UsageError("--limit: give a number from 1 to 100")
    found: list[Document] = []
    if arguments.offline:
        code = _remembered(arguments, found)
    else:

        async def work(visit: Visit) -> None:
            found.append(await _asked(visit, arguments.limit))

        code = visit_each(arguments, work)
    if found or code == 0:
        if arguments.json:
            sys.stdout.write(json.dumps({"accounts": found}, indent=2) + "\n")
        else:
            _print(found)
    return code


async def _asked(visit: Visit, limit: int) -> Document:
    """Fetches the account's data from the API. Lists no jobs where the profile has no listing."""
    session = await visit.account.provider.session(visit.deadline, visit.observer)
    jobs: Sequence[SyncJob] = ()
    note = None
    if visit.account.api.profile.recent is None:
        note = "this profile has no listing of jobs; `status --offline` shows the stored state"
    else:
        jobs = await visit.account.api.recent(limit, visit.deadline, visit.observer)
        session = await visit.account.provider.session(visit.deadline, visit.observer)  # a request may have renewed it
    provider = visit.account.provider
    sessions = [(one.name, one.current) for one in provider.parts]
    return _document(
        visit.account.name,
        None if provider.static else session,
        [_values(asdict(job), _JOB) for job in jobs],
        note,
        sessions,
    )


def _remembered(arguments: argparse.Namespace, found: list[Document]) -> int:
    """Reads each account's stored state: its syncs, and its session where its secrets can be read."""
    if not loaded(arguments).settings.state.lasting:
        raise UsageError("status --offline: needs persistent state (--state-dir)")
    entries: list[Entry] = []

    async def read(state: RunState, deadline: Deadline) -> None:
        entries.extend(await state.ledger.recent(arguments.limit, deadline))

    async def work(visit: Visit) -> None:
        parts = visit.account.provider.parts
        sessions = [(one.name, (await one.read_state(visit.deadline)).session) for one in parts]
        mine = [_of_entry(entry) for entry in entries if entry.account == visit.account.name]
        found.append(_document(visit.account.name, sessions[-1][1], mine, None, sessions))

    code = visit_each(arguments, work, ignore=(SecretError, ContractError), first=read)
    for name in dict.fromkeys(
        entry.account for entry in entries if entry.account not in {one["account"] for one in found}
    ):
        jobs = [_of_entry(entry) for entry in entries if entry.account == name]
        found.append(_document(name, None, jobs, "its secrets cannot be read, so its session is not shown"))
    return code


def _document(
    account: str,
    session: UserSession | None,
    jobs: list[Document],
    note: str | None,
    logins: Sequence[tuple[str, UserSession | None]] = (),
) -> Document:
    """Describes one account, with each of its `logins` where it has several. Contains no token, in whole or in part."""
    several = [
        {"login": name, "user_session": None if one is None else _values(_of_session(one), _SESSION)}
        for name, one in logins
        if len(logins) > 1
    ]
    return {
        "account": escape(account),
        "user_session": None if session is None else _values(_of_session(session), _SESSION),
        "authentication_token": None if session is None else _values(_of_token(session.token), _TOKEN),
        "sync_jobs": jobs,
        "note": note,
        **({"logins": several} if several else {}),
    }


def _of_session(session: UserSession) -> Document:
    return {name: getattr(session, name) for name in _SESSION}


def _of_token(token: AuthenticationToken) -> Document:
    return {name: getattr(token, name) for name in _TOKEN}


def _of_entry(entry: Entry) -> Document:
    """Converts a stored sync to a job: `status` is its outcome, or `open` until it is known to have ended."""
    known = {
        "job_id": entry.shown_id,
        "status": entry.outcome or "open",
        "start_time": rfc3339(entry.intended_at),
        "end_time": None if entry.ended_at is None else rfc3339(entry.ended_at),
        "sync_type": entry.sync_type,
        "error_message": entry.error,
        "processed_items": entry.processed_items,
    }
    return _values(dict.fromkeys(_JOB) | known, _JOB)


def _values(given: Document, names: Sequence[str]) -> Document:
    return {name: _value(name, given[name]) for name in names}


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in _TIMES:
        return rfc3339(value) if value else None
    return value if isinstance(value, int | float) else show(value, _SHOWN)


def _print(found: Sequence[Document]) -> None:
    """Prints a block for each account: session and token, then jobs: a table, or two lines each on a narrow
    terminal."""
    from rich.text import Text

    from runner.outputs.tables import table_console

    console = table_console(sys.stdout, markup=False)
    for one in found:
        console.print(Text(f"account {one['account']}", style="bold"))
        for title, part in (("session", one["user_session"]), ("token", one["authentication_token"])):
            given = [f"{key}={_cell(part[key])}" for key in part or () if part[key] is not None]
            console.print(Text(f"  {title}:{'' if given else ' none'}"))
            for line in given:
                console.print(Text(f"    {line}"))
        for login in one.get("logins", ()):
            console.print(Text(f"  login {login['login']}: {_line(login['user_session'])}"))
        if one["note"]:
            console.print(Text(f"  {one['note']}"))
        if one["sync_jobs"] and console.width >= WIDE:
            console.print(_table(one["sync_jobs"]))
        for job in one["sync_jobs"] if console.width < WIDE else ():
            identity, *others = _row(job)
            console.print(Text(f"  {identity}"), soft_wrap=True)  # whole, so that it can be copied to `cancel`
            console.print(Text(f"    {'  '.join(filter(None, others))}"))


def _row(job: Document) -> list[str]:
    """Returns the job's id, type, status, progress, items, start and error, as text."""
    items = "" if job["total_items"] is None else f"{job['processed_items'] or 0}/{job['total_items']}"
    progress = "" if job["progress"] is None else f"{_cell(job['progress'])}%"
    columns = (job["job_id"], job["sync_type"], job["status"], progress, items, job["start_time"], job["error_message"])
    return [_cell(value) for value in columns]


def _table(jobs: Sequence[Document]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("job_id", "sync_type", "status", "progress", "items", "start_time"):
        table.add_column(name, no_wrap=True)
    table.add_column("error_message", overflow="fold")
    for job in jobs:
        table.add_row(*map(Text, _row(job)))
    return table


def _line(part: Document | None) -> str:
    return "none" if part is None else ", ".join(f"{key}={_cell(part[key])}" for key in part if part[key] is not None)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
