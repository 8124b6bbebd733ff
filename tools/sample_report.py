"""Sample reports of any size, for pictures and tests of the page: `python -m tools.sample_report 100 > page.html`."""

import random
import sys

from runner.events import events
from runner.events.observer import Record
from runner.models import JobStatus, Outcome, RunResult, SyncJob, SyncResult
from runner.outputs.html import page
from runner.outputs.report_model import Report, build_report
from runner.outputs.timeline import Timeline

BEGAN = 1_782_800_000.0
TYPES = ("activities", "health", "workouts")
_LONG = "the data source is not available: GET https://sync.example.org/api/v2/sources/7f3a/items?page=12&per_page=500 gave 503"
# How one sync of seven ends, in turn.
_FAILED = (
    (Outcome.FAILED, _LONG),
    (Outcome.DEADLINE, "the sync's deadline (deadline.sync, 30 min) is over at 58 %; job 4711 was cancelled"),
    (Outcome.SKIPPED, "not started: `activities`, which it comes after, did not complete"),
    (Outcome.UNREACHABLE, "status: cannot connect to sync.example.org (Connection refused)"),
)


def sample(syncs: int) -> tuple[Report, Timeline]:
    """A run of so many syncs, three an account; one of seven does not complete."""
    chance = random.Random(7)
    timeline, results = Timeline(), []
    timeline(
        Record(BEGAN, events.RunStarted("1.0.0", "https://sync.example.org", "garminsync", syncs // 3 or 1, syncs), {})
    )
    for number in range(syncs):
        account, kind = f"account-{number // 3:04}", TYPES[number % 3]
        bad = number % 7 == 1
        outcome, error = _FAILED[number // 7 % len(_FAILED)] if bad else (Outcome.COMPLETED, None)
        start = BEGAN + 1 + chance.random() * syncs / 8
        length = 0.0 if outcome is Outcome.SKIPPED else 2 + chance.random() * 20
        total = chance.randrange(100, 4000)
        job = (
            None
            if outcome is Outcome.SKIPPED
            else SyncJob(f"job-{number}", JobStatus.RUNNING, total_items=total, processed_items=total // 2)
        )
        results.append(SyncResult(account, kind, kind, outcome, job, error, start, length, int(length > 0)))
        context = {"account": account, "sync": kind}
        if length:
            timeline(Record(start, events.SyncStarted(), context))
            timeline(Record(start + 1, events.LoggedIn("login", True, 0.8), context))
            if bad:
                timeline(Record(start + 1.5, events.RetryScheduled("trigger", "connect", 1, 0.5), context))
            timeline(Record(start + length, events.SyncEnded(outcome.value, length, 1, error=error), context))
    code = 5 if syncs > 1 else 0
    ended, address = BEGAN + 25 + syncs / 8, "https://sync.example.org"
    run = RunResult("7f1f0a3e-6a2d-4f57-9d55-9d1f6c1f8a11", code, BEGAN, ended, address, "garminsync", tuple(results))
    return build_report(run), timeline


if __name__ == "__main__":
    sys.stdout.write(page(*sample(int(sys.argv[1]))))
