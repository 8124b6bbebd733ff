"""`cancel JOB`: ask the API to end a job."""

import argparse
import sys

from runner.engine.each_account import Visit, visit_each
from runner.errors import UsageError
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, SyncJob
from runner.state.ledger import Ledger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("job", metavar="JOB", help="the job's id, as `status` shows it")
    parser.add_argument(
        "--sync", metavar="NAME", help="the sync of the settings whose job it is; else as the runner remembers it"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Cancel the job and print its state."""

    async def work(visit: Visit) -> None:
        sync = _sync_of(visit, arguments.job, arguments.sync)
        api = visit.account.api.about(sync) if sync else visit.account.api
        asked = SyncJob(arguments.job, JobStatus.RUNNING, sync.sync_type if sync else None)
        job = await api.cancel(asked, visit.deadline, visit.observer)
        sys.stdout.write(f"{arguments.job}: {job.status if job else 'asked to cancel'}\n")

    return visit_each(arguments, work)


def _sync_of(visit: Visit, job_id: str, name: str | None) -> PlannedSync | None:
    """The sync that the job belongs to: some APIs want its type or parameters too. None where nobody knows."""
    syncs = {sync.name: sync for sync in visit.syncs}
    if name is not None and name not in syncs:
        raise UsageError(f"cancel --sync: no sync `{name}` in the settings; known: {', '.join(syncs) or 'none'}")
    ledger = Ledger(visit.settings.state.dir)
    entry = ledger.of_job(visit.account.target, job_id) if name is None else None
    ledger.close()
    given = syncs.get(name or (entry.name if entry else ""))
    if given:
        return PlannedSync(given.name, given.type, params=given.params)
    return PlannedSync(entry.name, entry.sync_type) if entry else None
