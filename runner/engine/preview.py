"""Shows what a run would do: `run --dry-run`. Reads secrets and state, and sends nothing."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from runner.clock import Deadline
from runner.engine.account import RunContext
from runner.engine.each_account import Visit, visit_each
from runner.engine.run import check_plan, planned_syncs
from runner.engine.selection import last_successes, selected
from runner.external import show
from runner.frozen import Frozen
from runner.jobs.plan import PlannedSync
from runner.outputs.assembly import Outputs
from runner.settings import Settings
from runner.state.interface import JobLedger

_SHOWN = 200


class PreviewRow(Frozen):
    """One planned sync. Dates are ISO days; None: the API's own choice."""

    account: str
    name: str
    sync_type: str
    start_date: str | None
    end_date: str | None
    action: str


def preview(arguments: argparse.Namespace, more: dict[str, object], *, as_json: bool) -> int:
    """Prints the plan of every selected account. Returns 0, or the most severe exit code of the errors before a run's start."""
    rows: list[PreviewRow] = []

    async def work(visit: Visit) -> None:
        rows.extend(await _rows(visit))

    code = visit_each(arguments, work, more=more, before=_checked)
    if as_json:
        sys.stdout.write(json.dumps({"exit_code": code, "syncs": [asdict(row) for row in rows]}, indent=2) + "\n")
    else:
        _print(rows)
    return code


def _checked(context: RunContext, _outputs: Outputs) -> None:
    check_plan(context, dates=True)


async def _rows(visit: Visit) -> list[PreviewRow]:
    target, settings, ledger, deadline = visit.account.target, visit.settings, visit.ledger, visit.deadline
    planned = planned_syncs(visit.syncs, visit.context, await last_successes(visit.syncs, target, ledger, deadline))
    chosen = await selected(planned, visit.account.name, target, settings.select, ledger, deadline)
    return [
        PreviewRow(
            visit.account.name, sync.name, sync.sync_type, sync.start_date, sync.end_date,
            sync.nothing or await _action(ledger, target, sync, settings, deadline),
        )
        for sync in chosen
    ]  # fmt: skip


async def _action(ledger: JobLedger, target: str, sync: PlannedSync, settings: Settings, deadline: Deadline) -> str:
    done = settings.run.key and await ledger.completed_under(target, sync.name, settings.run.key, deadline)
    if done and done.sync_type == sync.sync_type:
        return "nothing: completed under this run.key"
    entry = await ledger.open_entry(target, sync.name, deadline)
    if entry is None:
        return "trigger"
    if entry.job_id is None:
        return "look up the trigger of an earlier run, whose response is unknown"
    return f"adopt job {show(entry.shown_id or entry.job_id, _SHOWN)} of an earlier run, if it is still running"


def _print(rows: Sequence[PreviewRow]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from runner.outputs.tables import table_console

    table = Table("account", "sync", "type", "start", "end", "what a run would do", box=box.SIMPLE_HEAD)
    for row in rows:
        cells = (row.account, row.name, row.sync_type, row.start_date or "", row.end_date or "", row.action)
        table.add_row(*map(Text, cells))
    console = table_console(sys.stdout)
    console.print(table)
