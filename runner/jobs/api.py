"""The job requests of one API, built from its profile: trigger, poll, list, cancel."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from runner.auth.interface import SessionProvider
from runner.clock import Deadline
from runner.errors import ContractError, RunnerError, Unreachable, UsageError
from runner.events import events
from runner.events.observer import Observer
from runner.external import ExternalText, show
from runner.frozen import Frozen
from runner.http.budget import Budget
from runner.http.client import Client
from runner.http.messages import PreparedRequest, Response, prepare
from runner.http.retry import Safety
from runner.jobs.identity import alike, reach_back, same_id
from runner.jobs.listing import Listed, NextPage, Reading, read_pages
from runner.jobs.plan import PlannedSync
from runner.jobs.requests import LIST, JobRequests, Rights
from runner.jobs.trigger_errors import not_begun, shows_job, unnamed_success
from runner.models import JSON, JobStatus, SyncJob
from runner.profile import Profile, extraction, template
from runner.profile.absence import says_nothing
from runner.profile.expressions import find, shape
from runner.profile.extraction import structure, text
from runner.profile.listings import Listing
from runner.profile.models import Jobs, Request

GONE = 410  # RFC 9110, 15.5.11: it was there, and will not be again
OLDER_SECONDS = 3600.0  # listings are read until they show jobs that are this much older than a trigger


class JobMissing(ContractError):
    """The API says that it has no such job."""


class JobForgotten(Unreachable):
    """The API does not know a job that may still be running (`missing_is_gone: false`)."""


class JobReplaced(ContractError):
    """The API shows only its newest job, which is no longer ours."""


class Conflict(Frozen):
    """The API says that such a job already runs; `job_id` where it names the job, and its own `words`."""

    job_id: ExternalText | None
    words: str = ""


class JobApi:
    """The job requests of one account at one API."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        provider: SessionProvider,
        account: str,
        params: Mapping[str, Any],
        requests: JobRequests | None = None,
    ) -> None:
        """`account` is the value of `${account}` in the profile's templates, `params` are those of every sync."""
        self._requests = requests or JobRequests(client, profile, provider, account, params, Rights())
        self._client, self._profile, self._provider = client, profile, provider
        self._account, self._params = account, params
        self.last: Response | None = None  # the status response that showed the job's end, if results are read from it
        self._reported: set[str] = set()  # gaps of listings that are already reported

    def about(self, sync: PlannedSync) -> "JobApi":
        """Returns the same API for one sync with its parameters."""
        requests = self._requests.about(sync)
        return JobApi(self._client, self._profile, self._provider, self._account, self._params, requests)

    def listen(self, on_response: Callable[[str, Response], None]) -> None:
        """Passes every response with its endpoint to `heard`, including those of the login."""
        self._client.on_response = on_response

    @property
    def profile(self) -> Jobs:
        """What the profile says about jobs, to decide which requests are possible."""
        return self._profile.jobs

    async def signed(
        self,
        endpoint: str,
        request: Request,
        job: SyncJob,
        more: Mapping[str, Any],
        deadline: Deadline,
        observer: Observer,
    ) -> PreparedRequest:
        """Returns a request about `job`, with the job's values, `more` values and the current session."""
        values = {**await self._requests.values(deadline, observer, job), **more}
        return await self._requests.signed(endpoint, request, values, deadline, observer)

    async def values(self, job: SyncJob, deadline: Deadline, observer: Observer) -> Mapping[str, Any]:
        """Returns the values for requests and expressions about `job`."""
        return await self._requests.values(deadline, observer, job)

    async def ask(
        self, endpoint: str, request: Request, job: SyncJob, deadline: Deadline, observer: Observer
    ) -> Response:
        """Returns the response to another request about `job`, sent once."""
        values = await self._requests.values(deadline, observer, job)
        return await self._requests.read(endpoint, request, values, deadline, observer)

    async def trigger(self, sync: PlannedSync, key: str, deadline: Deadline, observer: Observer) -> SyncJob | Conflict:
        """Triggers a job. Where the response was lost or is unreadable, the error's `sent` says that it may be accepted."""
        trigger = self.profile.trigger
        values = await self._requests.values(deadline, observer) | {
            "start_date": sync.start_date,
            "end_date": sync.end_date,
            "force_full": sync.force_full,
            "idempotency_key": key,
        }
        # Even with a key, only a trigger that was certainly not accepted is retried here; `decide` handles the rest.
        answer = await self._requests.send(
            "trigger",
            trigger.request,
            values,
            Safety.NON_IDEMPOTENT,
            deadline,
            observer,
            trigger.conflict,
            trigger.accepted,
        )
        from_proxy = self._requests.of_a_proxy(answer, (*trigger.accepted, *trigger.conflict))
        if not from_proxy and extraction.fits(trigger.conflict, answer, values):
            named = None
            with suppress(ContractError):  # it informs only: the refusal is certain
                named = text(answer, trigger.conflict_job_id, values)
            return Conflict(None if named is None else ExternalText(named), self._requests.words(answer) or "")
        taken = extraction.fits(trigger.accepted, answer, values)
        if taken and shows_job(self.profile, answer, from_proxy=from_proxy):
            try:
                return self._begun(answer, sync, key, values)
            except ContractError as error:
                raise ContractError(f"trigger: {error}", sent=True) from None
        raise not_begun(self._requests, sync, answer, taken=taken)

    def _begun(self, answer: Response, sync: PlannedSync, key: str, values: Mapping[str, Any]) -> SyncJob:
        """Returns the job that an accepted trigger started."""
        trigger = self.profile.trigger
        found = key if self.profile.single else text(answer, trigger.job_id, values)
        job = extraction.job(self.profile, find(answer.body, trigger.job, values), job_id=found, begun=True)
        known = {**values, "job_id": job.job_id.raw}
        carried = {name: structure(answer, sources, known) for name, sources in trigger.carry.items()}
        kept = {name: value for name, value in carried.items() if value is not None}
        user_id = job.user_id if job.status.terminal else None  # of a running job the first poll's counts
        kind = job.sync_type or sync.sync_type
        return replace(job, sync_type=kind, user_id=user_id, carried=kept, begun_at=answer.left_at)

    async def poll(self, job: SyncJob, deadline: Deadline, observer: Observer, *, sure: bool = True) -> SyncJob:
        """Polls the job once. `sure`: it is known that there is, or was, such a job.

        Raises JobMissing or JobReplaced where the API says so, or RunnerErrors.
        """
        poll = self.profile.status
        values = await self._requests.values(deadline, observer, job)
        answer = await self._requests.read("status", poll.request, values, deadline, observer, poll.missing)
        if extraction.tells(poll.missing, answer, values) or (answer.status == GONE and answer.is_json):
            said = self._requests.words(answer)
            reported = f"{answer.status}: {said}" if said else str(answer.status)
            raise self._missing(job, reported)
        if not sure and extraction.tells(poll.unsure, answer, values):
            raise JobMissing(
                f"status: the API responds the same for jobs that never existed, and this runner has started no job "
                f"{show(job.job_id, 80)}"
            )
        found = self._shown(self._requests.body("status", answer, poll.accepted, values), values)
        if extraction.idle(self.profile, found):
            if job.status is JobStatus.PENDING:  # accepted, not started
                return replace(job, poll_after=answer.retry_after)
            found = None
        if found is None:
            raise self._missing(job, f"shape: {shape(answer.body)}")
        now = extraction.job(self.profile, found, job_id=job.job_id.raw)
        now = self._checked(job, now)
        if now.status.terminal and self.profile.results:
            self.last = answer
        return replace(
            now, sync_type=now.sync_type or job.sync_type, carried=job.carried, begun_at=job.begun_at,
            poll_after=answer.retry_after,
        )  # fmt: skip

    def _shown(self, body: JSON, values: Mapping[str, Any]) -> JSON:
        """Returns the job's own object; None where the response says that there is none. Raises ContractError for
        another shape."""
        place = self.profile.status.job
        found = find(body, place, values)
        if found is None and not says_nothing(body, place):
            raise ContractError(f"status: nothing at `{place}` (shape: {shape(body)})")
        return found

    def _missing(self, job: SyncJob, reported: str) -> RunnerError:
        said = f"status: the API does not know job {show(job.job_id, 80)} ({reported})"
        return JobMissing(said) if self.profile.status.missing_is_gone else JobForgotten(said)

    @property
    def _asked_by_id(self) -> bool:
        """Whether a job is requested by its id: a response about another one is then a mistake, not a successor."""
        request = self.profile.status.request.model_dump(by_alias=True, exclude_none=True)
        return any(name == "job_id" for name, *_ in template.names(request))

    def _checked(self, asked: SyncJob, now: SyncJob) -> SyncJob:
        """Returns the job under the id that was requested. Raises JobReplaced where the response is about another job."""
        if not (now.job_id == asked.job_id or (self._asked_by_id and same_id(now.job_id, asked.job_id))):
            text = f"requested job {show(asked.job_id, 80)}, the API answered with job {show(now.job_id, 80)}"
            raise ContractError(text) if self._asked_by_id else JobReplaced(text)
        session_user = self._requests.user_id
        of_session = bool(session_user) and alike(now.user_id, session_user)
        if asked.user_id is not None and not of_session and not alike(now.user_id, asked.user_id.raw):
            raise JobReplaced(f"status: job {show(asked.job_id, 80)} is now another user's: the API reused its id")
        if self.profile.single and now.sync_type not in (None, asked.sync_type):
            raise JobReplaced(
                f"status: the API now shows a job of type {show(now.sync_type, 80)}; it does not report how the job of type "
                f"{show(asked.sync_type or 'unknown', 80)} ended: check there before you run it again"
            )
        return replace(now, job_id=asked.job_id)

    async def newest(self, name: str, deadline: Deadline, observer: Observer) -> SyncJob | None:
        """Polls an API that runs one job at a time, under the id `name`; None where it shows no job."""
        poll = self.profile.status
        values = await self._requests.values(deadline, observer)
        answer = await self._requests.read("status", poll.request, values, deadline, observer, poll.missing)
        if extraction.tells(poll.missing, answer, values):
            return None
        found = self._shown(self._requests.body("status", answer, poll.accepted, values), values)
        if found is None or extraction.idle(self.profile, found):
            return None
        return replace(extraction.job(self.profile, found, job_id=name), poll_after=answer.retry_after)

    async def listed(
        self, sync_type: str, deadline: Deadline, observer: Observer, since: float | None = None
    ) -> Listed | None:
        """Lists this user's jobs of that type, newest first; None where the API has no listing.

        Reads pages until they show jobs that started well before `since` (Unix seconds, our clock).
        """
        listing = self.profile.running
        if listing is None:
            return None
        values = await self._requests.values(deadline, observer)

        def older(jobs: list[SyncJob]) -> bool:
            return since is not None and reach_back(jobs, since + (self.skew or 0.0) - OLDER_SECONDS)

        listed = await self._read_list(listing, values, None, older, deadline, observer)
        return listed.only(lambda job: self.concerns(sync_type, job))

    async def with_key(self, key: str, deadline: Deadline, observer: Observer) -> Listed | None:
        """Lists the jobs with our key, whatever user they report; None where the API does not support it."""
        listing = self.profile.by_key
        if listing is None:
            return None
        values = {**await self._requests.values(deadline, observer), "idempotency_key": key}
        return await self._read_list(listing, values, None, bool, deadline, observer)

    def concerns(self, sync_type: str, job: SyncJob) -> bool:
        """Whether the job is of that type and this user's, as far as the API reports them; case does not count."""
        return alike(job.sync_type, sync_type) and alike(job.user_id, self._requests.user_id)

    @property
    def skew(self) -> float | None:
        """Seconds that the server's clock is ahead of ours; None where no two responses agree."""
        return self._client.server_time.skew

    @property
    def budget(self) -> Budget:
        """The remaining retries of the run."""
        return self._client.budget

    async def recent(self, limit: int, deadline: Deadline, observer: Observer) -> list[SyncJob]:
        """Lists the newest jobs. Raises ContractError where the profile has no listing."""
        listing = self.profile.recent
        if listing is None:
            raise ContractError("list: this profile has no listing of jobs; `status --offline` shows the stored state")
        values = {"limit": limit, **self._requests.constant(None, complete=False)}
        listed = await self._read_list(
            listing, values, Safety.IDEMPOTENT, lambda jobs: len(jobs) >= limit, deadline, observer
        )
        return list(listed.jobs[:limit])

    async def cancel(self, job: SyncJob, deadline: Deadline, observer: Observer) -> SyncJob | None:
        """Requests a cancel. Returns the job as the API then reports it, None where it does not. Raises ContractError."""
        cancel = self.profile.cancel
        if cancel is None:
            raise ContractError("cancel: this profile has no cancel request")
        values = await self._requests.values(deadline, observer, job)
        for lookup in cancel.lookups:
            values |= await self._requests.look_up(lookup, values, deadline, observer)
        answer = await self._requests.send(
            "cancel", cancel.request, values, Safety.IDEMPOTENT, deadline, observer, accepted=cancel.accepted
        )
        if self._requests.of_a_proxy(answer, cancel.accepted) or not extraction.fits(cancel.accepted, answer, values):
            refused = self._requests.refused("cancel", answer)
            if extraction.tells(self.profile.status.missing, answer, values):
                raise UsageError(f"{refused}; check the job's id with `status`")
            refused.sent = refused.sent or unnamed_success(cancel.accepted, answer)
            raise refused
        if cancel.job is None or not answer.is_json:
            return None
        with suppress(ContractError):  # it was accepted: the next poll shows the result
            shown = extraction.job(self.profile, find(answer.body, cancel.job, values), job_id=job.job_id.raw)
            return replace(shown, job_id=job.job_id) if same_id(shown.job_id, job.job_id) else None
        return None

    async def _read_list(
        self,
        listing: Listing,
        values: Mapping[str, Any],
        safety: Safety | None,
        enough: Callable[[list[SyncJob]], bool],
        deadline: Deadline,
        observer: Observer,
    ) -> Listed:
        """Reads the needed pages; reports each gap once. `safety` None: without retries."""

        async def ask(page: NextPage) -> tuple[NextPage, Response]:
            request, filled = listing.request, {**values, **page.values}
            if page.target is None:
                page = replace(page, target=prepare(LIST, request, filled).target)
            else:
                request = request.model_copy(update={"path": page.target.replace("$", "$$"), "query": {}})
            if safety is None:
                answer = await self._requests.read(LIST, request, filled, deadline, observer)
            else:
                answer = await self._requests.send(LIST, request, filled, safety, deadline, observer)
            self._requests.body(LIST, answer, listing.accepted, filled)
            return page, answer

        base_path = urlsplit(self._client.address).path
        listed = await read_pages(Reading(self.profile, listing, enough, values), base_path, ask)
        for lack in ("partial", "skipped"):
            gap = getattr(listed, lack)
            if gap is not None and lack not in self._reported:
                self._reported.add(lack)
                observer.emit(events.ListIncomplete(gap))
        return listed
