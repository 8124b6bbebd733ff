"""One job, started once: what runs is adopted, what is in doubt is looked up, and only else something is sent."""

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from runner.clock import Deadline
from runner.errors import ContractError, DeadlineExceeded, OutcomeUnknown, RunnerError, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.jobs.api import Conflict
from runner.jobs.context import SyncContext
from runner.jobs.journal import SyncJournal
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, Outcome, SyncJob
from runner.state.ledger import Entry

LOST_ANSWERS = 3  # triggers with one idempotency key whose answers may be lost before they are looked up in the listing
KEY_SECONDS = 3600.0  # an idempotency key older than that may be forgotten by the server
CLOCK_SECONDS = 3.0  # skew below 2 s is not corrected, and a start time may be cut to the second
UNSEEN_PAUSES = (0.2, 1.0)  # seconds before a trigger goes out again that was refused for a job that nothing shows
SETTLE_STEP = 0.5  # seconds between two look-ups while the answer is still awaited


class Trigger:
    """Starts or adopts the jobs of one sync.

    `doubtful` says that a trigger has left whose fate is not known; `adopted`, that the last job was running already.
    """

    def __init__(self, shared: SyncContext, sync: PlannedSync, journal: SyncJournal, observer: Observer) -> None:
        """Nothing is sent yet."""
        self._shared, self._sync, self._journal, self._observer = shared, sync, journal, observer
        self._api, self._clock = shared.api, shared.clock
        self._sent: asyncio.Future[SyncJob | Conflict] | None = None
        self._since = 0.0
        self._lost = 0
        self.doubtful = False
        self.adopted = False

    async def begin(self, deadline: Deadline) -> SyncJob:
        """A job to watch: an earlier run's that still runs, or a new one. Raises RunnerErrors of every kind."""
        self.adopted = False
        async with self._journal.alone(deadline):
            known = await self._journal.earlier(deadline)
            if known is not None:
                self._journal.key, self._since = known.key, known.intended_at
                job = await self._resumed(known, deadline)
                if job is not None:
                    return job
            key, self._since = str(uuid.uuid4()), self._clock.time()
            await self._journal.intend(key, self._since, deadline)
            return await self._until_told(key, deadline)

    async def _resumed(self, known: Entry, deadline: Deadline) -> SyncJob | None:
        """The job of an earlier run's entry while it runs; else its end is written down and None returned."""
        if known.job_id is not None:
            job = await self._still_known(known.job_id, deadline, known.carried)
        elif self._key_is_known(known):
            return await self._until_told(known.key, deadline)
        else:
            job = await self._of_lone_intent(known, deadline)
        if job is None:
            await self._journal.end(Outcome.UNKNOWN, None, "what became of it could not be told")
            return None
        await self._journal.job(job)
        if job.status.terminal:
            await self._journal.end(Outcome(job.status.value), job, job.error_message)
            return None
        self.adopted = True
        return job

    def _key_is_known(self, known: Entry) -> bool:
        """Whether the API still tells a repeat by its key: by the name of a job for ever, else for a while."""
        trigger = self._api.profile.trigger
        young = 0 <= self._clock.time() - known.intended_at < KEY_SECONDS
        return trigger.names_job or (trigger.idempotent and young)

    async def _still_known(
        self, job_id: str, deadline: Deadline, carried: Mapping[str, str] | None = None
    ) -> SyncJob | None:
        known = SyncJob(job_id, JobStatus.PENDING, self._sync.sync_type, carried=dict(carried or {}))
        try:
            return await self._api.poll(known, deadline, self._observer)
        except ContractError:
            return None

    async def _of_lone_intent(self, known: Entry, deadline: Deadline) -> SyncJob | None:
        """The job of an earlier run that ended between its intent and the answer."""
        jobs = await self._candidates(deadline)
        if jobs is None and 0 <= self._clock.time() - known.intended_at < KEY_SECONDS:
            raise OutcomeUnknown(
                f"an earlier run ended while it triggered, and this API can not tell what became of it: look there for a "
                f"job of type {self._sync.sync_type}; an hour after that trigger a new one is sent"
            )
        return jobs[0] if jobs and len(jobs) == 1 else None

    async def _until_told(self, key: str, deadline: Deadline) -> SyncJob:
        """The job of the trigger with that key, once its fate is known."""
        pauses = iter(UNSEEN_PAUSES)
        while isinstance(answer := await self._answer(key, deadline), Conflict):
            job = await self._running(answer, deadline)
            if job is not None:
                self.adopted = True
                return await self._taken(job, external=not self._lost and answer.job_id != key)
            job = await self._unseen(pauses, deadline)
            if job is not None:
                return await self._taken(job)
        return await self._taken(answer)

    async def _taken(self, job: SyncJob, *, external: bool = False) -> SyncJob:
        """The job is known, and written down."""
        self.doubtful = False
        self.adopted = self.adopted or external
        await self._journal.job(job, external=external)
        return job

    async def _unseen(self, pauses: Iterator[float], deadline: Deadline) -> SyncJob | None:
        """After a refusal for a job that nothing shows, which may have ended in between.

        That job, where it is a lost trigger's own; else None after a wait, to send again. Raises ContractError in the end.
        """
        kind = self._sync.sync_type
        error = ContractError(f"trigger: the API says that a {kind} job is running, but names and lists none")
        if self._lost:
            return await self._looked_up(error, deadline)
        self.doubtful = False
        pause = next(pauses, None)
        if pause is None or not await self._waited(pause, deadline):
            raise error
        return None

    async def _answer(self, key: str, deadline: Deadline) -> SyncJob | Conflict:
        """Send the trigger until its fate is known; what is in doubt is sent again only where its key makes that safe."""
        self._lost = 0
        while True:
            try:
                return await self._send(key, deadline)
            except RunnerError as error:
                if not self.doubtful:
                    raise
                self._observer.emit(events.TriggerDoubt(str(error)))
                if isinstance(error, DeadlineExceeded):
                    raise  # what is left of the time is for `settle`
                if not await self._may_send_again(error, deadline):
                    return await self._looked_up(error, deadline)

    async def _send(self, key: str, deadline: Deadline) -> SyncJob | Conflict:
        """Send the trigger. A task that is cancelled meanwhile leaves it under way, for `settle` to wait for."""
        self.doubtful = True
        self._sent = asyncio.ensure_future(self._api.trigger(self._sync, key, deadline, self._observer))
        try:
            return await asyncio.shield(self._sent)
        except RunnerError as error:
            self._lost += error.sent
            self.doubtful = self._lost > 0
            raise

    async def _may_send_again(self, error: RunnerError, deadline: Deadline) -> bool:
        """Wait a little, and tell whether the same key may go out again."""
        keyed = self._api.profile.trigger.idempotent or self._api.profile.trigger.names_job
        return keyed and self._lost < LOST_ANSWERS and await self._waited(self._pause(error), deadline)

    async def _waited(self, pause: float, deadline: Deadline) -> bool:
        """Wait `pause` seconds before another try, where the time and the budget of retries allow one."""
        if pause >= deadline.remaining or not self._api.budget.spend():
            return False
        await self._clock.sleep(pause)
        return True

    def _pause(self, error: RunnerError) -> float:
        """Seconds before the next try: more with each, and not before the API's own word."""
        retry_after = error.retry_after if isinstance(error, Unreachable) else None
        return max(0.2 * 2.0**self._lost, retry_after or 0.0)

    async def _looked_up(self, error: RunnerError, deadline: Deadline) -> SyncJob:
        """The job that the trigger in doubt has started. Raises OutcomeUnknown where the API can not tell."""
        job = await self._listed_one(deadline)
        if job is not None:
            self.adopted = True
            return job
        if isinstance(error, ContractError):
            raise error
        raise OutcomeUnknown(f"{error}; {self.unknown}")

    @property
    def unknown(self) -> str:
        """What to say of a trigger in doubt."""
        return (
            f"whether the sync was started is not known: look at the API for a job of type {self._sync.sync_type} "
            "before you run it again"
        )

    async def _candidates(self, deadline: Deadline) -> list[SyncJob] | None:
        """The listed jobs that can be the trigger's; None where the API lists none."""
        if self._api.profile.trigger.names_job and self._journal.key:
            named = await self._still_known(self._journal.key, deadline)
            return [] if named is None else [named]
        jobs = await self._api.listed(self._sync.sync_type, deadline, self._observer)
        if jobs is None:
            return None
        since = self._api.server_time(self._since) - CLOCK_SECONDS
        return [job for job in started_since(jobs, since) if not self._journal.anothers(job)]

    async def _running(self, conflict: Conflict, deadline: Deadline) -> SyncJob | None:
        """The job that is running already, to be watched instead of a second one; None where there is none to be seen."""
        kind = self._sync.sync_type
        if conflict.job_id:
            return await self._api.poll(SyncJob(conflict.job_id, JobStatus.PENDING, kind), deadline, self._observer)
        jobs = await self._api.listed(kind, deadline, self._observer)
        return next((job for job in jobs or () if not job.status.terminal), None)

    async def settle(self, deadline: Deadline) -> SyncJob | None:
        """The job of a trigger that is under way or in doubt, after a signal or at the end of the time.

        Until `deadline` the answer is awaited and the listing looked at, in turn; None where neither shows a job, and
        `doubtful` then still tells whether there may be one.
        """
        found = None
        while self.doubtful and found is None:
            found = await self._answered(deadline)
            if self.doubtful and found is None:
                found = await self._listed_one(deadline)
            if self._sent is None or deadline.expired:
                break
        if self._sent is not None:
            self._sent.cancel()
        if found is not None:
            self.doubtful = False
            await self._journal.job(found)
        return found

    async def _answered(self, deadline: Deadline) -> SyncJob | None:
        """What the trigger that is under way has brought, after a short wait."""
        sent = self._sent
        if sent is None:
            return None
        await asyncio.wait({sent}, timeout=min(SETTLE_STEP, deadline.remaining))
        if not sent.done():
            return None
        self._sent = None
        error = None if sent.cancelled() else sent.exception()
        if error is None and not sent.cancelled():
            self.doubtful = False
            answer = sent.result()
            return answer if isinstance(answer, SyncJob) else None
        if isinstance(error, RunnerError):
            self._lost += error.sent
            self.doubtful = self._lost > 0
        return None

    async def _listed_one(self, deadline: Deadline) -> SyncJob | None:
        """The one listed job that can be the trigger's; none where there are several: never a guess."""
        try:
            jobs = await self._candidates(deadline)
        except RunnerError:
            return None
        return jobs[0] if jobs and len(jobs) == 1 else None


def started_since(jobs: Iterable[SyncJob], since: float) -> list[SyncJob]:
    """Those that started at or after `since` (Unix seconds, by the server's clock), and those that are still to start."""
    found = []
    for job in jobs:
        at = _unix(job.start_time)
        if (not job.status.terminal) if at is None else at >= since:
            found.append(job)
    return found


def _unix(text: str | None) -> float | None:
    """A time of the API in Unix seconds, in UTC where it names no zone; None for anything that is no time."""
    try:
        moment = datetime.fromisoformat(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
