"""Polls and listings of one sync, each with its event. A response that is not from the API is never taken for its word."""

from collections.abc import Awaitable
from dataclasses import replace

from runner.clock import Deadline
from runner.errors import (
    ContractError,
    DeadlineExceeded,
    LoginUnclear,
    PermissionMissing,
    ProxyRefused,
    RunnerError,
    StateError,
    StrayAnswer,
    Unreachable,
    UsageError,
)
from runner.events.observer import Observer
from runner.external import ExternalText
from runner.jobs import states as s
from runner.jobs.api import JobForgotten, JobMissing, JobReplaced
from runner.jobs.conditions import ended_since_the_trigger, may_be_ours
from runner.jobs.context import SyncContext
from runner.jobs.identity import is_new, match, match_new, started
from runner.jobs.journal import SyncJournal
from runner.jobs.listing import Listed
from runner.jobs.plan import PlannedSync
from runner.jobs.states import Event, Facts, Phase, State
from runner.models import JobStatus, SyncJob


class Reads:
    """The read-only requests of a sync. `intended_at` is when the current trigger was to be sent, in Unix seconds.

    `earlier`: the ids that the API listed before that; None where they were not read, or not all of them.
    """

    def __init__(
        self, shared: SyncContext, sync: PlannedSync, facts: Facts, journal: SyncJournal, observer: Observer
    ) -> None:
        """Sends nothing yet."""
        self.shared, self.sync, self.facts, self.journal, self.observer = shared, sync, facts, journal, observer
        self.api, self.clock = shared.api, shared.clock
        self.single = self.api.profile.single is not None
        self.timed = self.api.profile.fields.start_time is not None
        self.intended_at = 0.0
        self.earlier: list[ExternalText] | None = None

    @property
    def _now(self) -> float:
        return self.clock.monotonic()

    async def poll(self, state: State, until: Deadline) -> Event:
        """Polls the job of the current phase. Raises DeadlineExceeded."""
        try:
            return await self._read(self._poll(state, until))
        except (
            StateError,
            LoginUnclear,
        ) as error:  # no session at present; the job continues, and another process may log in
            if state.phase is not Phase.POLL:
                return s.Broken(self._now, error)
            return s.Unclear(self._now, error)

    async def list(self, state: State, until: Deadline) -> Event:
        """Searches for the job of our trigger. Raises DeadlineExceeded."""
        try:
            return await self._read(self._list(state, until))
        except (StateError, LoginUnclear) as error:
            return s.Broken(self._now, error)

    async def note_earlier(self, until: Deadline) -> Event | None:
        """Notes the listed jobs before a trigger whose job nothing else would identify after a lost response.

        Returns the event of an error that ends the sync, such as a refused login. Raises DeadlineExceeded.
        """
        self.earlier = None
        keyed = self.facts.key_seconds or self.facts.names_job or self.api.profile.by_key
        if self.timed or self.single or keyed or not self.facts.lists:
            return None
        event = await self._read(self._note_earlier(until))
        return event if isinstance(event, s.Broken) else None

    async def _note_earlier(self, until: Deadline) -> Event:
        listed = await self.api.listed(self.sync.sync_type, until, self.observer) or Listed()
        if listed.partial is None and not listed.unread:
            self.earlier = [job.job_id for job in listed.jobs]
        return s.Found(self._now)

    async def _read(self, act: Awaitable[Event]) -> Event:
        """Returns the event of a read-only request. A response that is not from the API is never taken for its word."""
        try:
            return await act
        except (DeadlineExceeded, StateError, LoginUnclear):
            raise
        except Unreachable as error:
            return s.Unclear(self._now, error, min(error.retry_after or 0.0, self.shared.poll_policy.pace.max))
        except ProxyRefused as error:  # a proxy on the path, which may accept the next poll
            return s.Unclear(self._now, error)
        except StrayAnswer as error:
            return s.Unclear(self._now, Unreachable(str(error)))
        except JobMissing as error:
            return s.Missing(self._now, error)
        except JobReplaced as error:
            return s.Replaced(self._now, error)
        except (ContractError, PermissionMissing, UsageError) as error:  # one such response may be stray
            return s.Misfit(self._now, error)
        except RunnerError as error:
            return s.Broken(self._now, error)

    async def _poll(self, state: State, until: Deadline) -> Event:
        if state.phase in (Phase.AWAIT_IDLE, Phase.MATCH, Phase.SEARCH) or (
            self.single and state.phase is Phase.RESUME
        ):
            return await self._newest(state, until)
        if state.phase is Phase.IDENTIFY:
            named = state.named or ExternalText(state.key or "")
            job = await self.api.poll(self._called(named), until, self.observer)
            begun = (
                started(job, self.intended_at, self.api.skew) is True
                if self.earlier is None
                else is_new(job, self.earlier)
            )
            of_trigger = begun and not await self.journal.anothers(job, until)
            return s.Seen(self._now, job, of_trigger, foreign=not self.api.concerns(self.sync.sync_type, job))
        assert state.job is not None
        job = await self.api.poll(state.job, until, self.observer)
        leased = await self.journal.lease(until) if state.phase in (Phase.POLL, Phase.LOOK) else None
        return s.Seen(self._now, job, of_trigger=True, leased=leased)

    def _called(self, job_id: ExternalText) -> SyncJob:
        return SyncJob(job_id, JobStatus.PENDING, self.sync.sync_type)

    async def _newest(self, state: State, until: Deadline) -> Event:
        """Polls an API without ids; the job gets the name of our trigger's key."""
        shown = await self.api.newest(state.key or "", until, self.observer)
        if shown is None or shown.sync_type not in (None, self.sync.sync_type):
            return s.Seen(self._now, shown)
        if state.job is not None:
            shown = replace(shown, carried=state.job.carried)
        at_its_time = shown.start_time is None or started(shown, self.intended_at, self.api.skew or 0.0) is not False
        return s.Seen(self._now, shown, of_trigger=at_its_time)

    async def _list(self, state: State, until: Deadline) -> Event:
        """Searches for the job of our trigger: by the name that we gave it, in the status, or in the listing."""
        if self.single:
            shown = await self.api.newest(state.key or "", until, self.observer)
            seen = s.Seen(self._now, shown)
            fits = may_be_ours(state, seen, self.facts) or ended_since_the_trigger(state, seen, self.facts)
            return s.Found(self._now, ours=shown if fits else None)
        if self.facts.names_job and state.key and (state.lost or state.in_flight):
            try:
                return s.Found(
                    self._now, ours=await self.api.poll(self._called(ExternalText(state.key)), until, self.observer)
                )
            except (JobMissing, JobForgotten):
                return s.Found(self._now)
        keyed = await self.api.with_key(state.key, until, self.observer) if state.key else None
        if keyed and keyed.jobs:
            return s.Found(self._now, ours=keyed.jobs[0])
        since = None if state.phase is Phase.MATCH else self.intended_at
        listed = await self.api.listed(self.sync.sync_type, until, self.observer, since) or Listed()
        mine, unread = [
            [job for job in jobs if not await self.journal.anothers(job, until)]
            for jobs in (listed.jobs, listed.unread)
        ]
        running = next((job for job in listed.jobs if not job.status.terminal), None)
        if keyed is not None:  # a job without our key is not our trigger's
            return s.Found(self._now, running=running, doubtful=bool(keyed.unread))
        whole = listed.partial is None
        if self.earlier is not None:
            found = match_new(mine, self.earlier, whole=whole and not unread)
        else:
            found = match(mine, self.intended_at, self.api.skew, unread, whole=whole)
        return s.Found(self._now, found.ours, running, found.doubtful, found.queued and self.timed)
