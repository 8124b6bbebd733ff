"""Fetches logs, results and files of a sync's jobs. None of this changes the sync's outcome."""
# Decision 0140.

import asyncio
from dataclasses import replace

from runner.clock import Deadline
from runner.errors import defect
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.artifacts import JobFiles
from runner.jobs.context import OutputPolicy, SyncContext
from runner.jobs.drive import Drive
from runner.jobs.logs import SyncLogs
from runner.jobs.results import read
from runner.models import JobStatus, SyncJob, SyncResult

CLOSE_SECONDS = 0.3  # a signal leaves little time


class Fetching:
    """What is fetched for one sync."""

    def __init__(self, policy: OutputPolicy, shared: SyncContext, drive: Drive, observer: Observer) -> None:
        """Sends nothing yet."""
        self._policy, self._shared, self._drive, self._observer = policy, shared, drive, observer
        logs = shared.api.profile.logs
        self._logs = SyncLogs(logs, policy, shared, drive.sync.name, observer) if logs else None
        self._following: asyncio.Task[None] | None = None

    def follow(self, deadline: Deadline) -> None:
        """Starts to show the log of the sync's job while it runs."""
        if self._logs is not None:
            self._following = asyncio.create_task(self._logs.follow(lambda: self._drive.state.job, deadline))

    async def stop(self) -> None:
        """Stops following the log."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            if not self._following.cancelled():
                self._following.exception()  # the log affects nothing, not even by a defect

    async def fetched(self, result: SyncResult, deadline: Deadline) -> SyncResult:
        """Returns the result with the fetched data. A signal stops the work; what is fetched by then stays."""
        kept = [result]
        work = asyncio.create_task(self._all(kept, deadline))
        self._shared.interruptible.add(work)
        try:
            await work
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - how the sync ended is known: no defect here may change it
            self._observer.emit(events.OutputUnread(_job_id(result), "all", defect(error)))
        finally:
            self._shared.interruptible.discard(work)
        return kept[0]

    async def close(self) -> None:
        """Closes the file of a followed log that was not read to its end."""
        if self._logs is not None:
            await self._logs.close(Deadline.after(self._shared.clock, CLOSE_SECONDS, "the time to close the log"))

    async def _all(self, kept: list[SyncResult], deadline: Deadline) -> None:
        """Fetches results first: they are small, and a later step may need them."""
        job = kept[0].job
        assert job is not None
        profile = self._shared.api.profile
        if profile.results:
            client = self._policy.client()
            values = await read(profile.results, self._shared.api, client, job, deadline, self._observer)
            kept[0] = replace(kept[0], results=values)
        jobs = self._to_read(job)
        if self._logs is not None and jobs:
            log, path = await self._logs.end(jobs, deadline)
            kept[0] = replace(kept[0], log=log, log_file=path)
        if profile.artifacts and self._policy.artifacts.dir is not None:
            files = JobFiles(
                profile.artifacts, self._policy, self._shared, self._drive.sync.name, job, self._observer
            )  # fmt: skip
            kept[0] = replace(kept[0], artifacts=await files.download(deadline))

    def _to_read(self, job: SyncJob) -> list[SyncJob]:
        """The jobs whose logs are being read, the last one last."""
        show = self._policy.logs.show
        if show == "failed":
            return [*self._drive.retried, *([job] if job.status is JobStatus.FAILED else [])]
        return {"none": [], "follow": [job]}.get(show, [*self._drive.retried, job])


def _job_id(result: SyncResult) -> str:
    return result.job.shown_id if result.job else ""
