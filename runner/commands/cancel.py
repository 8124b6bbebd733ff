"""`cancel JOB`: ask the API to end a job."""

import argparse
import sys

from runner.commands.each_account import Visit, visit_each
from runner.models import Job, JobStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("job", metavar="JOB", help="the job's id, as `status` shows it")


def execute(arguments: argparse.Namespace) -> int:
    """Cancel the job and print its state."""

    async def work(visit: Visit) -> None:
        asked = Job(arguments.job, JobStatus.RUNNING)
        job = await visit.account.api.cancel(asked, visit.deadline, visit.observer)
        sys.stdout.write(f"{arguments.job}: {job.status if job else 'asked to cancel'}\n")

    return visit_each(arguments, work)
