"""`status`: recent jobs as the API tells them, or as the ledger remembers them."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from runner.clock import rfc3339
from runner.engine.each_account import Visit, visit_each
from runner.errors import UsageError
from runner.settings.arguments import loaded
from runner.state.ledger import Entry, Ledger

_COLUMNS = ("account", "sync_type", "job_id", "status", "progress", "items", "started", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="how many jobs at most (default: 10)")
    parser.add_argument("--offline", action="store_true", help="what the runner remembers; asks nobody")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def execute(arguments: argparse.Namespace) -> int:
    """Print recent jobs, newest first."""
    if not 1 <= arguments.limit <= 100:
        raise UsageError("--limit: give a number from 1 to 100")
    if arguments.offline:
        settings = loaded(arguments).settings
        if settings.state.dir is None:
            raise UsageError("status --offline: nothing is remembered without a state directory (--state-dir)")
        ledger = Ledger(settings.state.dir)
        _show([_remembered(entry) for entry in ledger.recent(arguments.limit)], as_json=arguments.json)
        ledger.close()
        return 0
    rows: list[dict[str, Any]] = []

    async def work(visit: Visit) -> None:
        for job in await visit.account.api.recent(arguments.limit, visit.deadline, visit.observer):
            values = asdict(job)
            items = None if job.total_items is None else f"{job.processed_items or 0}/{job.total_items}"
            row = {**values, "items": items, "started": job.start_time, "error": job.error_message}
            # Here and not at the end: a table would wrap a secret over two lines, where no guard finds it.
            redacted = {key: visit.redact(value) if isinstance(value, str) else value for key, value in row.items()}
            rows.append({**redacted, "account": visit.account.name})

    code = visit_each(arguments, work)
    if rows or code == 0:
        _show(rows, as_json=arguments.json)
    return code


def _remembered(entry: Entry) -> dict[str, Any]:
    return {
        "account": entry.account,
        "sync_type": entry.sync_type,
        "job_id": entry.job_id,
        "status": entry.outcome or "open",
        "progress": None,
        "items": entry.processed_items,
        "started": rfc3339(entry.intended_at),
        "error": entry.error,
    }


def _show(rows: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps({key: row.get(key) for key in _COLUMNS}) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*_COLUMNS, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*("" if row.get(key) is None else str(row[key]) for key in _COLUMNS))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not cut
    console.print(table)
