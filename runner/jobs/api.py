"""Jobs over the wire: trigger, look up, list, cancel, in the profile's spelling, with a session that is kept good."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from runner.auth.interface import SessionProvider
from runner.clock import Deadline
from runner.errors import AuthenticationError, ContractError, DeadlineExceeded, OutcomeUnknown, RunnerError, Unreachable
from runner.events.observer import Observer
from runner.frozen import Frozen
from runner.http import retry
from runner.http.budget import Budget
from runner.http.client import Client
from runner.http.messages import PreparedRequest, Response, prepare
from runner.http.retry import Safety
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, SyncJob, UserSession
from runner.profile import Profile, extraction, parameters
from runner.profile.expressions import find, shape
from runner.profile.extraction import text
from runner.profile.models import Jobs, Lookup, Request, Source


class Conflict(Frozen):
    """The API says that such a job is running already; `job_id` where it tells which."""

    job_id: str | None


class JobApi:
    """The job side of one account at one API."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        provider: SessionProvider,
        account: str,
        params: Mapping[str, Any],
        sync: PlannedSync | None = None,
    ) -> None:
        """`account` is the value of `${account}` in the profile's templates, `params` are those of every sync."""
        self._client = client
        self._profile = profile
        self._keeper = provider
        self._account = account
        self._params = params
        self._sync = sync
        self._user_id: str | None = None
        self._found: dict[str, str] | None = None  # by the profile's lookups

    def about(self, sync: PlannedSync) -> "JobApi":
        """The same API, asked about one sync with its parameters."""
        return JobApi(self._client, self._profile, self._keeper, self._account, self._params, sync)

    def listen(self, on_response: Callable[[str, Response], None]) -> None:
        """Have every answer told to `heard` with its endpoint, those of the login too."""
        self._client.on_response = on_response

    @property
    def profile(self) -> Jobs:
        """What the profile says of jobs, for deciding what can be asked."""
        return self._profile.jobs

    async def trigger(self, sync: PlannedSync, key: str, deadline: Deadline, observer: Observer) -> SyncJob | Conflict:
        """Ask for a job. Where the answer was lost or can not be read, the error's `sent` says that it may be taken."""
        trigger = self.profile.trigger
        values = await self._values(deadline, observer) | {
            "start_date": sync.start_date,
            "end_date": sync.end_date,
            "force_full": sync.force_full,
            "idempotency_key": key,
        }
        # Even with a key only what was certainly not taken is sent again here; `execute` decides about the rest.
        answer = await self._send("trigger", trigger.request, values, Safety.NON_IDEMPOTENT, deadline, observer)
        if answer.status in trigger.accepted and (answer.is_json or self._id_beside_body):
            try:
                return self._begun(answer, sync, key, values)
            except ContractError as error:
                raise ContractError(f"trigger: {error}", sent=True) from None
        if answer.status in trigger.conflict:
            named = key if trigger.names_job else text(answer, _body_at(trigger.conflict_job_id))
            return Conflict(named)
        if answer.status >= 500 or answer.status in {*retry.MAYBE_TAKEN, *trigger.accepted}:
            without = "" if answer.is_json else " without JSON"
            raise Unreachable(f"trigger: the API answered {answer.status}{without}", retry_after=answer.retry_after)
        raise self._refused("trigger", answer)

    @property
    def _id_beside_body(self) -> bool:
        """Whether the trigger's answer is understood without its body."""
        sources = self.profile.trigger.job_id or ()
        return self.profile.single is not None or any(source.body is None for source in sources)

    def _begun(self, answer: Response, sync: PlannedSync, key: str, values: Mapping[str, Any]) -> SyncJob:
        """The job that an accepted trigger has begun."""
        trigger = self.profile.trigger
        found = key if self.profile.single else text(answer, trigger.job_id, values)
        job = extraction.job(self.profile, find(answer.body, trigger.job), job_id=found, begun=True)
        carried = {name: text(answer, sources) for name, sources in trigger.carry.items()}
        kept = {name: value for name, value in carried.items() if value is not None}
        return replace(job, sync_type=job.sync_type or sync.sync_type, carried=kept, begun_at=answer.left_at)

    async def poll(self, job: SyncJob, deadline: Deadline, observer: Observer) -> SyncJob:
        """The job as it is now. Raises ContractError when the API does not know it any more."""
        poll = self.profile.status
        values = await self._values(deadline, observer, job)
        answer = await self._send("status", poll.request, values, Safety.IDEMPOTENT, deadline, observer)
        if answer.status in poll.missing:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} any more ({answer.status})")
        found = find(self._body("status", answer, poll.accepted), poll.job)
        if extraction.idle(self.profile, found):
            if job.status is JobStatus.PENDING:  # taken, and not begun
                return replace(job, poll_after=answer.retry_after)
            found = None
        if found is None:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} (shape: {shape(answer.body)})")
        now = extraction.job(self.profile, found, job_id=job.job_id)
        if self.profile.single and now.sync_type not in (None, job.sync_type):
            raise OutcomeUnknown(
                f"status: the API shows a job of type {now.sync_type} now; how that of type {job.sync_type} ended it does "
                "not tell: look there before you run it again"
            )
        return replace(
            now, sync_type=now.sync_type or job.sync_type, carried=job.carried, poll_after=answer.retry_after
        )

    async def newest(self, name: str, deadline: Deadline, observer: Observer) -> SyncJob | None:
        """What an API of one job at a time shows, called `name`; None where it shows that there is no job."""
        poll = self.profile.status
        values = await self._values(deadline, observer)
        answer = await self._send("status", poll.request, values, Safety.IDEMPOTENT, deadline, observer)
        if answer.status in poll.missing:
            return None
        found = find(self._body("status", answer, poll.accepted), poll.job)
        if found is None or extraction.idle(self.profile, found):
            return None
        return replace(extraction.job(self.profile, found, job_id=name), poll_after=answer.retry_after)

    async def listed(self, sync_type: str, deadline: Deadline, observer: Observer) -> list[SyncJob] | None:
        """The jobs of that type and of this user, newest first; None where the API has no listing."""
        listing = self.profile.running
        if listing is None:
            return None
        values = await self._values(deadline, observer)
        answer = await self._send("list", listing.request, values, Safety.IDEMPOTENT, deadline, observer)
        jobs = self._read_list(self._body("list", answer, listing.accepted), listing.jobs)
        return [job for job in jobs if job.sync_type in (sync_type, None) and self._mine(job)]

    def _mine(self, job: SyncJob) -> bool:
        """Whether the job is this user's, as far as both are told."""
        return None in (job.user_id, self._user_id) or job.user_id == self._user_id

    def server_time(self, at: float) -> float:
        """Our Unix time `at` by the server's clock, as far as its skew is known."""
        return at + self._keeper.stored.skew

    @property
    def budget(self) -> Budget:
        """The retries that are left to the run."""
        return self._client.budget

    async def recent(self, limit: int, deadline: Deadline, observer: Observer) -> list[SyncJob]:
        """The newest jobs. Raises ContractError where the profile has no listing."""
        listing = self.profile.recent
        if listing is None:
            raise ContractError(
                "list: this profile has no listing of jobs; `status --offline` shows what the runner remembers"
            )
        values = {"limit": limit, **self._constant(None, complete=False)}
        answer = await self._send("list", listing.request, values, Safety.IDEMPOTENT, deadline, observer)
        return self._read_list(self._body("list", answer, listing.accepted), listing.jobs)

    async def cancel(self, job: SyncJob, deadline: Deadline, observer: Observer) -> SyncJob | None:
        """Ask for the job's end; the job as the API then has it, None where it does not say. Raises ContractError."""
        cancel = self.profile.cancel
        if cancel is None:
            raise ContractError("cancel: this profile has no way to cancel a job")
        values = await self._values(deadline, observer, job)
        answer = await self._send("cancel", cancel.request, values, Safety.IDEMPOTENT, deadline, observer)
        if answer.status not in cancel.accepted:
            raise self._refused("cancel", answer)
        if cancel.job is None or not answer.is_json:
            return None
        return extraction.job(self.profile, find(answer.body, cancel.job), job_id=job.job_id)

    def _read_list(self, body: Any, expression: str) -> list[SyncJob]:
        found = find(body, expression)
        if not isinstance(found, list):
            raise ContractError(f"list: `{expression}` should be a list of jobs (shape: {shape(body)})")
        return [extraction.job(self.profile, item) for item in found]

    def _constant(self, sync_type: str | None, *, complete: bool = True) -> dict[str, Any]:
        """The values that do not depend on any answer. Raises UsageError for parameters that do not fit."""
        given = {**self._params, **(self._sync.params if self._sync else {})}
        word = self._sync.sync_type if self._sync else sync_type
        known = parameters.values(self._profile, word, given, "params", complete=complete)
        return {"account": self._account, "sync_type": self.profile.sync_types.get(word or "", word), **known}

    async def _values(self, deadline: Deadline, observer: Observer, job: SyncJob | None = None) -> dict[str, Any]:
        """All that a request may use: what is constant, what the lookups found, and what is known of the job."""
        values = self._constant(job.sync_type if job else None)
        if self._found is None:
            self._found = {}
            for lookup in self.profile.lookups:
                self._found |= await self._look_up(lookup, values | self._found, deadline, observer)
        values |= self._found
        return values if job is None else {**values, **job.carried, "job_id": job.job_id}

    async def _look_up(
        self, lookup: Lookup, values: Mapping[str, Any], deadline: Deadline, observer: Observer
    ) -> dict[str, str]:
        try:
            answer = await self._send("lookup", lookup.request, values, Safety.IDEMPOTENT, deadline, observer)
        except RunnerError as error:  # what is to follow was certainly not sent
            error.sent = False
            raise
        self._body("lookup", answer, lookup.accepted)
        found = {}
        for name, sources in lookup.carry.items():
            value = text(answer, sources)
            if value is None:
                raise ContractError(f"lookup: nothing at `{extraction.named(sources)}` (shape: {shape(answer.body)})")
            found[name] = value
        return found

    async def _send(
        self,
        endpoint: str,
        request: Request,
        values: Mapping[str, Any],
        safety: Safety,
        deadline: Deadline,
        observer: Observer,
    ) -> Response:
        """Send with the session; where the API says it expired, once more with a new one."""
        session = await self._session(deadline, observer)
        call = prepare(endpoint, request, values)
        answer = await self._signed(call, session, safety, deadline, observer)
        if not self._keeper.expired(answer):
            return self._errorless(endpoint, answer)
        session = await self._session(deadline, observer, rejected=session)
        answer = await self._signed(call, session, safety, deadline, observer)
        if self._keeper.expired(answer):
            raise AuthenticationError(f"{endpoint}: the API refuses a token it has just given ({answer.status})")
        return self._errorless(endpoint, answer)

    def _errorless(self, endpoint: str, answer: Response) -> Response:
        """The answer. Raises ContractError for an error that hides behind a good status."""
        if answer.status < 400 and find(answer.body, self._profile.errors.when):
            raise self._refused(endpoint, answer)
        return answer

    async def _session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """The account's session. A lost answer to the login leaves no doubt about the request that was to follow it."""
        remaining = None if deadline.remaining == float("inf") else deadline.remaining
        try:
            async with asyncio.timeout(remaining):  # another sync may be at the login, with more time than this one
                session = await self._keeper.session(deadline, observer, rejected=rejected)
        except TimeoutError:
            raise DeadlineExceeded(f"login: no session before {deadline.what} ended") from None
        except RunnerError as error:
            error.sent = False
            raise
        self._user_id = session.user_id
        return session

    async def _signed(
        self, call: PreparedRequest, session: UserSession, safety: Safety, deadline: Deadline, observer: Observer
    ) -> Response:
        signed = replace(call, headers={**call.headers, **self._keeper.headers(session)})
        return await self._client.send(signed, safety=safety, deadline=deadline, observer=observer)

    def _body(self, endpoint: str, answer: Response, accepted: Collection[int]) -> Any:
        if answer.status not in accepted:
            raise self._refused(endpoint, answer)
        if not answer.is_json:
            kind = answer.headers.get("content-type", "no content type")[:60]
            raise ContractError(f"{endpoint}: the answer is not JSON ({kind}); is base_url the API's address?")
        return answer.body

    def _refused(self, endpoint: str, answer: Response) -> ContractError:
        said = extraction.message(self._profile.errors, answer.body)
        return ContractError(f"{endpoint}: the API answered {answer.status}{f': {said}' if said else ''}")


def _body_at(expression: str | None) -> tuple[Source, ...]:
    return () if expression is None else (Source(body=expression),)
