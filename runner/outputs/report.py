"""The run's one JSON report, its schema, the table for people, and the line for Kubernetes.

JUnit, HTML and GitHub's forms (`junit.py`, `page.py`, `github.py`) are made from this report too.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from runner import __version__
from runner.clock import rfc3339
from runner.errors import ExitCode
from runner.models import AccountResult, RunResult, SyncResult

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
TERMINATION_BYTES = 1024  # Kubernetes shows 4096 at most; one line is to be read at a glance


def build_report(run: RunResult, redact: Callable[[str], str] = str) -> dict[str, Any]:
    """The report as data; `report.schema.json` describes it.

    `clean` takes secrets out of what the API or an error said; names from the configuration stay as they are.
    """
    return {
        "report_version": 1,
        "runner_version": __version__,
        "run_id": run.run_id,
        "exit_code": run.exit_code,
        "meaning": ExitCode(run.exit_code).meaning,
        "started_at": rfc3339(run.started_at),
        "ended_at": rfc3339(run.ended_at),
        "duration_seconds": round(run.ended_at - run.started_at, 3),
        "base_url": run.base_url,
        "profile": run.profile,
        "shard": run.shard,
        "totals": dict(sorted(Counter(result.outcome.value for result in run.results).items())),
        "accounts": [_account(account, redact) for account in run.accounts],
        "syncs": [_sync(result, redact) for result in run.results],
        "errors": [redact(error) for error in run.errors],
    }


def _account(account: AccountResult, redact: Callable[[str], str]) -> dict[str, Any]:
    named = {"user_id": account.user_id, "session_id": account.session_id}
    return {**asdict(account), **{name: None if text is None else redact(text) for name, text in named.items()}}


def _sync(result: SyncResult, redact: Callable[[str], str]) -> dict[str, Any]:
    job = result.job
    return {
        "account": result.account,
        "name": result.name,
        "sync_type": result.sync_type,
        "outcome": result.outcome.value,
        "job_id": redact(job.job_id) if job else None,
        "status": job.status.value if job else None,
        "progress": job.progress if job else None,
        "total_items": job.total_items if job else None,
        "processed_items": job.processed_items if job else None,
        "started_at": None if result.started_at is None else rfc3339(result.started_at),
        "duration_seconds": round(result.duration, 3),
        "attempts": result.attempts,
        "adopted": result.adopted,
        "error": None if result.error is None else redact(result.error),
    }


def schema() -> dict[str, Any]:
    """The report's JSON Schema."""
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def write_report(report: dict[str, Any], target: str, stdout: TextIO) -> str | None:
    """Write the report to the file `target`, whole, or to `stdout` for `-`. Returns what went wrong, or None."""
    text = json.dumps(report, indent=2) + "\n"
    if target == "-":
        stdout.write(text)
        stdout.flush()
        return None
    return write_whole(Path(target), text)


def write_whole(path: Path, text: str) -> str | None:
    """Write `text` so that a reader sees the old file or the new one, never a part. Returns what went wrong, or None."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="replace",
            dir=path.parent,
            prefix=f".{path.name}.",
            suffix=".tmp",
            delete=False,
        ) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # read by other users: a CI server, the node exporter
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        return f"{path}: can not be written ({error.strerror})"
    return None


def termination_line(report: dict[str, Any]) -> str:
    """One line that tells the run: code, meaning, and the first thing that went wrong."""
    failed = [sync for sync in report["syncs"] if sync["outcome"] != "completed"]
    many = len(report["accounts"]) > 1
    named = ((f"{one['account']}/{one['name']}" if many else one["name"], one["error"]) for one in failed)
    why = next((f"{name}: {error}" for name, error in named if error), "") or "; ".join(report["errors"])
    done = len(report["syncs"]) - len(failed)
    line = f"code {report['exit_code']}: {report['meaning']}; {done} of {len(report['syncs'])} syncs completed"
    line = " ".join((f"{line}; {why}" if why else line).split())
    return line.encode(errors="replace")[:TERMINATION_BYTES].decode(errors="ignore")


def write_termination(path: Path, line: str) -> str | None:
    """Write the line where the file exists, as Kubernetes makes it. Returns what went wrong, or None."""
    if not path.exists():
        return None
    try:  # in place: Kubernetes mounts the file itself, which can not be replaced
        path.write_text(line, encoding="utf-8", errors="replace")
    except OSError as error:
        return f"{path}: can not be written ({error.strerror})"
    return None


def print_summary(report: dict[str, Any], stream: TextIO) -> None:
    """A table of the syncs, for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False, emoji=False)
    table = Table("sync", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("outcome", no_wrap=True)
    wide = console.width >= 60
    for column in ("items", "seconds") if wide else ():
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("error", overflow="fold")
    for sync in report["syncs"]:
        total, done = sync["total_items"], sync["processed_items"]
        items = "" if total is None else f"{done}/{total}"
        numbers = (items, f"{sync['duration_seconds']:.1f}") if wide else ()
        table.add_row(*(Text(cell) for cell in (sync["name"], sync["outcome"], *numbers, sync["error"] or "")))
    console.print(table)
