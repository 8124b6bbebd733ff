"""The command `cancel JOB`: asks the API to cancel a job."""

import argparse
import sys

from runner.engine.each_account import Visit, visit_each
from runner.errors import UsageError
from runner.external import ExternalText
from runner.jobs.api import JobMissing
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, SyncJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument("job", metavar="JOB", help="the job's id, as `status` shows it")
    parser.add_argument(
        "--sync",
        metavar="NAME",
        help="the job's sync in the settings, or its type (default: from the state)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Cancels the job and prints its state. Of several accounts, the first that has the job decides: then returns 0."""
    done: list[str] = []
    missing: list[str] = []

    async def work(visit: Visit) -> None:
        if done:
            return
        sync = await _sync_of(visit, arguments.job, arguments.sync)
        api = visit.account.api.about(sync) if sync else visit.account.api
        asked = SyncJob(ExternalText(arguments.job), JobStatus.RUNNING, sync.sync_type if sync else None)
        if api.profile.cancel is None:
            await api.cancel(asked, visit.deadline, visit.observer)  # raises where the profile has no cancel request
        ours = await visit.ledger.of_job(visit.account.target, arguments.job, visit.deadline)
        try:
            now = await api.poll(asked, visit.deadline, visit.observer, sure=ours is not None)
        except JobMissing as error:
            missing.append(str(error).removeprefix("status: "))
            return
        if now.status.terminal:  # some APIs would overwrite its final status
            sys.stdout.write(f"{arguments.job}: {now.status}, already ended; nothing was sent\n")
        else:
            job = await api.cancel(now, visit.deadline, visit.observer)
            sys.stdout.write(f"{arguments.job}: {job.status if job else 'cancel requested'}\n")
        done.append(visit.account.name)

    code = visit_each(arguments, work)
    if missing and code == 0 and not done:
        raise UsageError(f"cancel: {missing[0]}; check the job's id with `sync-runner status`")
    return 0 if done else code


async def _sync_of(visit: Visit, job_id: str, name: str | None) -> PlannedSync | None:
    """Returns the job's sync, since some APIs also need its type or parameters; None where it is not known."""
    syncs = {sync.name: sync for sync in visit.syncs}
    entry = await visit.ledger.of_job(visit.account.target, job_id, visit.deadline) if name is None else None
    given = syncs.get(name or (entry.name if entry else ""))
    if given:
        return PlannedSync(given.name, given.type, params=given.params)
    if name is not None:  # a type that is not in the settings, as on `run TYPE`
        return PlannedSync(name, name)
    return PlannedSync(entry.name, entry.sync_type) if entry else None
