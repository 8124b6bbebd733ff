"""The command `check`: tries each part that a run needs and reports it as one row. Triggers nothing."""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from runner.auth.interface import SessionProvider
from runner.auth.refusals import cooldown, in_a_row
from runner.commands import requested
from runner.engine.account import RunContext
from runner.engine.each_account import Visit, visit_each
from runner.engine.run import check_plan
from runner.engine.session_words import came_about, clock
from runner.errors import ContractError, ExitCode, RunnerError
from runner.external import show
from runner.frozen import Frozen
from runner.models import UserSession
from runner.outputs import kinds
from runner.outputs.assembly import Outputs
from runner.outputs.files import check_directory
from runner.outputs.interface import Output
from runner.state.record import AccountState

Result = Literal["ok", "warning", "failed", "not tried"]
OUTPUT_SECONDS = 5.0  # for one output's address
_SHOWN = 500  # characters of an error


class Row(Frozen):
    """One part of a run: whether it works, and how that was checked. `exit_code`: how a run would end."""

    account: str
    part: str
    result: Result
    detail: str
    exit_code: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    requested.add_arguments(parser)
    parser.add_argument("--no-login", action="store_true", help="check only what needs no request to the API")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def execute(arguments: argparse.Namespace) -> int:
    """Checks the configuration and every account. Returns the most severe exit code that a run would get."""
    rows: list[Row] = []

    async def account(visit: Visit) -> None:
        rows.append(Row(visit.account.name, "secrets", "ok", "read and usable"))
        await _account(visit, rows, login=not arguments.no_login)

    def refused(name: str, error: RunnerError) -> None:
        rows.append(_failed(name, "secrets", error))

    try:
        code = visit_each(
            arguments,
            account,
            more=requested.as_settings(arguments),
            before=lambda context, outputs: _configuration(context, outputs, rows),
            on_error=refused,
        )
    except RunnerError as error:  # an error before the first account; the earlier rows are still shown
        if not rows and not arguments.json:
            raise
        part, known = "start" if rows else "settings", {row.detail for row in rows}
        found = [_failed("", part, error, line) for line in str(error).splitlines()]
        rows += [row for row in found if row.detail not in known]
        code = int(error.exit_code)
    code = max([code, *(row.exit_code for row in rows)])
    if arguments.json:
        result = {"exit_code": code, "checks": [asdict(row) for row in rows]}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        _print(rows)
    return code


def _configuration(context: RunContext, outputs: Outputs, rows: list[Row]) -> None:
    """Checks what belongs to no single account: the plan, the deadlines, the outputs."""
    settings = context.settings
    rows.append(Row("", "settings", "ok", f"read; profile {settings.profile}, API {settings.base_url}"))
    try:
        syncs = check_plan(context, dates=True)
        rows.append(Row("", "plan", "ok", f"{len(syncs)} sync{'s' if len(syncs) > 1 else ''}: {', '.join(syncs)}"))
    except RunnerError as error:
        rows.append(_failed("", "plan", error))
    sync, run = settings.deadline.sync, settings.deadline.run
    if run is not None and (sync is None or sync > run):
        rows.append(
            Row("", "deadlines", "warning", "deadline.sync is longer than deadline.run, so the run ends the sync first")
        )
    _outputs(outputs, rows)
    files = settings.artifacts.dir
    if files is not None and context.profile.jobs.artifacts is not None:
        problem = check_directory(files)
        detail = f"artifacts.dir: {problem}" if problem else f"files of jobs can be written to {files}"
        rows.append(
            Row("", "files of jobs", "failed" if problem else "ok", detail, int(ExitCode.USAGE) if problem else 0)
        )


def _outputs(outputs: Outputs, rows: list[Row]) -> None:
    try:
        wanted = kinds.wanted(replace(outputs.context, whole_run=True))
    except RunnerError as error:
        rows.append(_failed("", "outputs", error))
        return
    for output in wanted:
        if type(output).check is Output.check:
            continue
        problem = output.check(OUTPUT_SECONDS)
        code = ExitCode.USAGE if problem else ExitCode.COMPLETED
        detail = show(problem, _SHOWN) if problem else output.checked
        rows.append(Row("", f"output {output.name}", "failed" if problem else "ok", detail, int(code)))


async def _account(visit: Visit, rows: list[Row], *, login: bool) -> None:
    name, provider = visit.account.name, visit.account.provider

    async def tried(part: str, work: Callable[[], Awaitable[str]]) -> bool:
        try:
            rows.append(Row(name, part, "ok", await work()))
        except RunnerError as error:
            rows.append(_failed(name, part, error))
            return False
        return True

    if not await tried("state", lambda: _state(visit)):
        return
    before = [one.stored for one in provider.parts]
    for one, stored in zip(provider.parts, before, strict=True):
        remaining = cooldown(stored, visit.clock.time())
        if remaining > 0:
            detail = f"no login for another {remaining:.0f} s, after {in_a_row(stored)}"
            rows.append(Row(name, _part("cool-down", one, provider), "warning", detail))
    if visit.settings.code.source != "totp" and not await tried(
        "codes", lambda: visit.account.codes.check(visit.deadline)
    ):
        return
    if not login:
        rows += [Row(name, _part("login", one, provider), "not tried", "--no-login") for one in provider.parts]
        return
    if not await _logins(visit, before, rows):
        return
    if visit.account.api.profile.recent is None:
        detail = "the profile has no listing of jobs, which would verify a session without a trigger"
        rows.append(Row(name, "session", "not tried", detail))
    else:
        await tried("session", lambda: _proved(visit))
    rows.append(Row(name, "rights", "not tried", "only a run shows whether the account may start syncs"))


async def _state(visit: Visit) -> str:
    """Writes and locks the same state as a run."""
    kept = visit.settings.state
    await visit.account.provider.prove_state(visit.deadline)
    await visit.ledger.open(visit.deadline)
    where = kept.dir or kept.kubernetes_secret or kept.url
    return (
        f"writable and lockable: {where}" if where else "in memory only: the next run logs in again and adopts nothing"
    )


def _part(what: str, one: SessionProvider, all_of_them: SessionProvider) -> str:
    """Returns the row's name; of several logins with the login's name."""
    return f"{what} {one.name}" if len(all_of_them.parts) > 1 else what


async def _logins(visit: Visit, before: Sequence[AccountState], rows: list[Row]) -> bool:
    """Adds a row for each login; returns whether each has a session. `before`: the stored state of each."""
    provider, name = visit.account.provider, visit.account.name
    problem: RunnerError | None = None
    if not provider.static:
        try:
            await provider.session(visit.deadline, visit.observer)
        except RunnerError as error:
            problem = error
    good = problem is None
    for one, stored in zip(provider.parts, before, strict=True):
        part = _part("login", one, provider)
        if one.static:
            rows.append(Row(name, part, "ok", "not needed: each request carries the secrets"))
        elif one.current is not None:
            rows.append(Row(name, part, "ok", _login(visit, one, one.current, stored)))
        elif problem is not None:
            rows.append(_failed(name, part, problem))
            problem = None
        else:
            rows.append(Row(name, part, "not tried", "the previous login failed"))
    return good


def _login(visit: Visit, one: SessionProvider, session: UserSession, before: AccountState) -> str:
    measured = visit.account.api.skew if one is visit.account.provider else None
    return f"{came_about(session, before.session)}; {clock(measured, one.stored.skew)}"


async def _proved(visit: Visit) -> str:
    """Requests a listing of jobs, which needs the session and changes nothing."""
    jobs = await visit.account.api.recent(1, visit.deadline, visit.observer)
    return f"the API accepts it: it listed the account's {'newest job' if jobs else 'jobs (none yet)'}"


def _failed(account: str, part: str, error: RunnerError, text: str | None = None) -> Row:
    fits = "; does the profile fit this API?" if isinstance(error, ContractError) else ""
    return Row(account, part, "failed", show(f"{text or error}{fits}", _SHOWN), int(error.exit_code))


def _print(rows: Sequence[Row]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from runner.outputs.tables import table_console

    styles = {"ok": "green", "warning": "yellow", "failed": "red", "not tried": "dim"}
    table = Table("account", "part", "result", "details", box=box.SIMPLE_HEAD)
    for row in rows:
        cells: list[Any] = [
            Text(row.account),
            Text(row.part),
            Text(row.result, style=styles[row.result]),
            Text(row.detail),
        ]
        table.add_row(*cells)
    console = table_console(sys.stdout)
    console.print(table)
