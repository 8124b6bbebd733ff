"""Summarises the report: one line for Kubernetes and notifications, a table for people."""

from typing import Any

from runner.external import escape
from runner.outputs.report_model import Report, SyncReport

LINE_BYTES = 1024  # Kubernetes shows at most 4096; one line must be readable at a glance
MOST_ROWS = 30  # failed syncs that the table shows
MOST_LOGS = 5  # failed syncs whose log is shown
FEW = 30  # up to this many syncs, all are shown, also completed ones


def one_line(report: Report) -> str:
    """Returns exit code, meaning and the first error, on one line of at most 1024 bytes."""
    why = next((f"{report.place(one)}: {one.error}" for one in report.failed if one.error), "") or "; ".join(
        report.errors
    )
    done = f"{report.completed} of {len(report.syncs)} syncs completed"
    line = f"code {int(report.exit_code)}: {report.meaning}; {done}{f'; {why}' if why else ''}"
    return " ".join(line.split()).encode(errors="replace")[:LINE_BYTES].decode(errors="ignore")


def print_summary(report: Report, stream: Any, *, logs: bool = True) -> None:
    """Shows the run's result, failures first, and what to do next. External text is escaped for the terminal.

    `logs`: with the last lines of the logs of failed jobs.
    """
    from rich.text import Text

    from runner.outputs.tables import table_console

    console = table_console(stream)
    few = len(report.syncs) <= FEW
    failed = report.failed[:MOST_ROWS]
    shown = [*failed, *(one for one in report.syncs if one.completed and few)]
    if shown:
        console.print(_table(report, shown, wide=console.width >= 60))
    hidden = len(report.failed) - len(failed)
    if hidden:
        console.print(Text(f"{hidden} more did not complete: the report (`--report FILE`) has all of them"))
    for sync in report.failed[:MOST_LOGS] if logs else ():
        if sync.log:
            console.print(Text(f"The job's log: {escape(report.place(sync))}", style="bold"))
            console.print(Text("\n".join(f"  {line}" for line in sync.log)))
    for error in report.errors:
        console.print(Text(escape(error), style="red"))
    sign, style = ("✓", "green") if report.good else ("✗", "red")
    done = f"{report.completed} of {len(report.syncs)} syncs completed in {report.duration_seconds:.1f} s"
    console.print(Text(f"{sign} {done}; exit code {int(report.exit_code)}: {report.meaning}", style=style))
    for remedy in _remedies(report):
        console.print(Text(f"  Next: {remedy}"))


def _remedies(report: Report) -> list[str]:
    """Returns what to do next: the remedy of each kind of failure once, at most three; else that of the exit code."""
    found = dict.fromkeys(one.remedy for one in report.failed if one.remedy)
    return [*found][:3] if found else [report.remedy] if report.remedy else []


def _table(report: Report, shown: list[SyncReport], *, wide: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("sync", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("outcome", no_wrap=True)
    for column in ("items", "seconds") if wide else ():
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("error", overflow="fold")
    colours = {"info": "green", "warning": "yellow", "error": "red"}
    for sync in shown:
        numbers = (Text(sync.items), Text(f"{sync.duration_seconds:.1f}")) if wide else ()
        outcome = Text(sync.outcome.value, style=colours[sync.severity])
        table.add_row(Text(escape(report.place(sync))), outcome, *numbers, Text(escape(sync.error or "")))
    return table
