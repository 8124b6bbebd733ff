"""Selects the syncs of an account: all, or those that did not complete the last time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from runner.clock import Deadline
from runner.errors import UsageError
from runner.jobs.plan import PlannedSync
from runner.reading import read_regular
from runner.settings import Settings
from runner.settings.sections import SelectSettings, SyncSettings
from runner.state.interface import JobLedger

MAX_BYTES = 1 << 26  # a report of 100,000 syncs has 40 MiB


def check_selection(settings: Settings) -> None:
    """Raises UsageError where what failed is asked for and nothing tells it."""
    if settings.select.only_failed and settings.state.dir is None and settings.state.url is None:
        raise UsageError(
            "select.only_failed (--only-failed): no earlier run is remembered; keep state (--state-dir or state.url), or give "
            "the last run's report (--failed-in REPORT)"
        )


async def selected(
    planned: Sequence[PlannedSync],
    account: str,
    target: str,
    settings: SelectSettings,
    ledger: JobLedger,
    deadline: Deadline,
) -> tuple[PlannedSync, ...]:
    """Returns the syncs to run, in order; a sync that is left out counts as completed for later ones.

    Raises UsageError for a report that cannot be read.
    """
    chosen = planned
    if settings.failed_in is not None:
        failed = failed_in(settings.failed_in)
        chosen = [sync for sync in chosen if (account, sync.name) in failed]
    if settings.only_failed:
        newest = {sync.name: await ledger.newest(target, sync.name, deadline) for sync in chosen}
        chosen = [sync for sync in chosen if (entry := newest[sync.name]) is None or entry.outcome != "completed"]
    names = {sync.name for sync in chosen}
    return tuple(replace(sync, after=tuple(name for name in sync.after if name in names)) for sync in chosen)


async def last_successes(
    syncs: Sequence[SyncSettings], target: str, ledger: JobLedger, deadline: Deadline
) -> Callable[[str], float | None]:
    """Maps a sync's name to the start of its last success, in Unix seconds; read only where a date needs it."""
    asked = {sync.name for sync in syncs if "last-success" in f"{sync.start} {sync.end}".lower()}
    entries = {name: await ledger.last_success(target, name, deadline) for name in asked}
    return {name: entry.intended_at for name, entry in entries.items() if entry}.get


@cache
def failed_in(report: Path) -> frozenset[tuple[str, str]]:
    """Returns account and name of each sync that did not complete in a JSON report. Raises UsageError."""
    try:
        data = json.loads(read_regular(report, MAX_BYTES)[0])
        return frozenset((sync["account"], sync["name"]) for sync in data["syncs"] if sync["outcome"] != "completed")
    except OSError as error:
        raise UsageError(f"select.failed_in: {report}: cannot be read ({error.strerror}); give a JSON report") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"select.failed_in: {report}: not a JSON report of sync-runner (`--report FILE`)") from None
