"""Which syncs of an account are run: all, or those that did not complete the last time."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from runner.errors import UsageError
from runner.jobs.plan import PlannedSync
from runner.settings.sections import SelectSettings
from runner.state.ledger import Ledger

MAX_BYTES = 1 << 26  # a report of 100,000 syncs has 40 MiB


def selected(
    planned: Sequence[PlannedSync], account: str, target: str, settings: SelectSettings, ledger: Ledger
) -> tuple[PlannedSync, ...]:
    """The syncs to run, in their order; one that is left out counts as completed for those after it.

    Raises UsageError for a report that cannot be read.
    """
    chosen = planned
    if settings.failed_in is not None:
        failed = failed_in(settings.failed_in)
        chosen = [sync for sync in chosen if (account, sync.name) in failed]
    if settings.only_failed:
        newest = {sync.name: ledger.newest(target, sync.name) for sync in chosen}
        chosen = [sync for sync in chosen if (entry := newest[sync.name]) is None or entry.outcome != "completed"]
    names = {sync.name for sync in chosen}
    return tuple(replace(sync, after=tuple(name for name in sync.after if name in names)) for sync in chosen)


@cache
def failed_in(report: Path) -> frozenset[tuple[str, str]]:
    """Account and name of each sync that did not complete in a JSON report. Raises UsageError."""
    try:
        with report.open("rb") as stream:
            data = json.loads(stream.read(MAX_BYTES))
        return frozenset((sync["account"], sync["name"]) for sync in data["syncs"] if sync["outcome"] != "completed")
    except OSError as error:
        raise UsageError(f"select.failed_in: {report}: cannot be read ({error.strerror}); give a JSON report") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"select.failed_in: {report}: not a JSON report of sync-runner (`--report FILE`)") from None
