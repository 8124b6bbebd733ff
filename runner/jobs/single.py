"""One job, started once, at an API that runs one at a time and gives it no id: its status is all there is to go by.

What runs is the trigger's own job where its type fits, or where none is told and a trigger is in doubt. What has ended
counts as its job only if the status is not what it was before; the rest is `unknown`.
"""

from collections.abc import Mapping
from dataclasses import replace

from runner.clock import Deadline
from runner.errors import RunnerError
from runner.jobs.trigger import LOST_ANSWERS, UNSEEN_PAUSES, Trigger
from runner.models import SyncJob

BUSY_SECONDS = 1.0  # between two looks while another job runs, and for which its end is left to be seen


class SingleTrigger(Trigger):
    """Starts or adopts jobs that have no id: here a job is called by the key of its trigger."""

    _before: SyncJob | None = None

    async def _until_told(self, key: str, deadline: Deadline) -> SyncJob:
        """Wait until nothing runs, note what the status shows then, and trigger."""
        pauses = iter(UNSEEN_PAUSES)
        while True:
            self._before = before = await self._idle(key, deadline)
            if before is not None and not before.status.terminal:
                return await self._taken(before, external=True)
            answer = await self._answer(key, deadline)
            if isinstance(answer, SyncJob):
                return await self._taken(answer)
            # The API is busy: with our own lost trigger, or with a job to wait for.
            now = await self._now(key, deadline)
            if now is None or now.status.terminal:
                now = await self._unseen(pauses, deadline)
                if now is not None:
                    return await self._taken(now)
            elif self._fits(now):
                self.adopted = True
                return await self._taken(now, external=not self._lost)
            self.doubtful = False  # another job is the one that runs: ours was turned away

    async def _idle(self, key: str, deadline: Deadline) -> SyncJob | None:
        """What the status shows once no job of another type runs, or the running job of ours.

        One that was waited for shows its end for a while longer before ours takes its place: who watches it wants to know.
        """
        waited = False
        while True:
            now = await self._now(key, deadline)
            runs = now is not None and not now.status.terminal
            if (now is not None and runs and now.sync_type == self._sync.sync_type) or not (runs or waited):
                return now
            waited = runs
            await self._clock.sleep(min(BUSY_SECONDS, deadline.remaining))

    async def _may_send_again(self, error: RunnerError, deadline: Deadline) -> bool:
        """Where nothing ran before and nothing shows now, the trigger was not taken."""
        if self._lost >= LOST_ANSWERS or not await self._waited(self._pause(error), deadline):
            return False
        if self._before is not None:
            return False
        try:
            return await self._now(self._journal.key or "", deadline) is None
        except RunnerError:
            return False

    async def _listed_one(self, deadline: Deadline) -> SyncJob | None:
        """The job that the trigger in doubt has started, if the status tells so."""
        try:
            now = await self._now(self._journal.key or "", deadline)
        except RunnerError:
            return None
        if now is None or not self._fits(now):
            return None
        return now if not now.status.terminal or self._changed(now) else None

    def _changed(self, now: SyncJob) -> bool:
        """Whether the status is another than before the trigger: something ran and ended meanwhile."""
        return self._before is None or replace(self._before, job_id=now.job_id, poll_after=now.poll_after) != now

    async def _candidates(self, deadline: Deadline) -> list[SyncJob] | None:
        """What runs, after an earlier run that ended between its intent and the answer."""
        now = await self._now(self._journal.key or "", deadline)
        return [now] if now is not None and not now.status.terminal and self._fits(now) else []

    async def _still_known(
        self, job_id: str, deadline: Deadline, carried: Mapping[str, str] | None = None
    ) -> SyncJob | None:
        """The earlier run's job: what the status shows, unless it tells another type."""
        now = await self._now(job_id, deadline)
        return replace(now, carried=dict(carried or {})) if now is not None and self._fits(now) else None

    def _fits(self, job: SyncJob) -> bool:
        return job.sync_type in (None, self._sync.sync_type)

    async def _now(self, name: str, deadline: Deadline) -> SyncJob | None:
        return await self._api.newest(name, deadline, self._observer)
