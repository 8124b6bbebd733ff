"""Schedules and reports the polls of one job."""

from dataclasses import replace

from runner.errors import RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.external import ExternalText
from runner.jobs.context import SyncContext
from runner.jobs.pacing import Pacer
from runner.models import JobStatus, SyncJob


class Tracking:
    """Paces the polls of a job and reports their results."""

    def __init__(self, shared: SyncContext, observer: Observer) -> None:
        """Knows no job yet."""
        self._shared, self._observer, self._clock = shared, observer, shared.clock
        self._pacer = Pacer(shared.poll_policy.pace)
        self._began = self._moved_at = 0.0
        self._stalled = self._requeued = False
        self._unreadable: set[str] = set()
        self._job_id: ExternalText | None = None
        self._shown = ""

    def began(self, job: SyncJob, *, adopted: bool) -> None:
        """Starts polling the job."""
        now = self._clock.monotonic()
        self._pacer = Pacer(self._shared.poll_policy.pace)
        self._began = now if job.begun_at is None or adopted else job.begun_at
        self._moved_at, self._stalled, self._requeued = now, False, False
        self._observer.emit(events.SyncTriggered(self._id(job), adopted))
        self._warn(job)

    def _id(self, job: SyncJob) -> str:
        """Returns the job's id, printable. Redacted once and not at each poll: outputs redact their text again."""
        if job.job_id != self._job_id:
            self._job_id, self._shown = job.job_id, job.shown_id
        return self._shown

    def _warn(self, job: SyncJob) -> None:
        for name in job.unreadable:
            if name not in self._unreadable:
                self._unreadable.add(name)
                self._observer.emit(events.FieldUnreadable(self._id(job), name))

    def pause(self, job: SyncJob) -> float:
        """Returns the seconds until the next poll: by the job's pace and the API's request, which `poll.max` limits."""
        watched = self._clock.monotonic() - self._began
        pause = self._pacer.next_poll(job, watched, self._shared.poll_budget.least)
        return max(pause, min(job.poll_after or 0.0, self._shared.poll_policy.pace.max))

    def pause_after_failure(self, pause: float, failures: int, problem: RunnerError | None) -> float:
        """Returns the same after a failed poll; only the first of several is reported."""
        if failures == 1:
            self._observer.emit(events.PollFailed(str(problem), round(pause, 3)))
        return max(pause, self._shared.poll_budget.least)

    def seen(self, before: SyncJob, now: SyncJob) -> SyncJob:
        """Reports a poll and the job as it is shown: a job that is back in its queue after it ran counts as running."""
        if before.status is JobStatus.RUNNING and now.status is JobStatus.PENDING:
            if not self._requeued:
                self._observer.emit(events.SyncRequeued(self._id(now)))
            self._requeued = True
            now = replace(now, status=JobStatus.RUNNING)
        elif now.status is not JobStatus.PENDING:
            self._requeued = False
        self._warn(now)
        at = self._clock.monotonic()
        if (now.status, now.progress, now.processed_items) != (before.status, before.progress, before.processed_items):
            self._moved_at, self._stalled = at, False
        elif not self._stalled and at - self._moved_at >= self._shared.poll_policy.stall:
            self._stalled = True
            self._observer.emit(events.SyncStalled(self._id(now), round(at - self._moved_at, 1)))
        self._observer.emit(
            events.SyncProgress(self._id(now), now.status.value, now.progress, now.processed_items, now.total_items)
        )
        return now
