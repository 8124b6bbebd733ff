"""Jobs over the wire: trigger, look up, list, cancel, in the profile's spelling, with a session that is kept good."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from runner.api import retry
from runner.api.budget import Budget
from runner.api.client import Client
from runner.api.profile import Profile, asking, reading
from runner.api.profile.expressions import find, shape
from runner.api.profile.models import Jobs, Lookup, Request, Source
from runner.api.profile.reading import text
from runner.api.retry import Safety
from runner.api.wire import Answer, Call, prepare
from runner.auth.interface import Keeper
from runner.clock import Deadline
from runner.errors import AuthenticationError, ContractError, DeadlineExceeded, OutcomeUnknown, RunnerError, Unreachable
from runner.frozen import Frozen
from runner.models import Job, JobStatus, Session
from runner.observe.interface import Observer
from runner.sync.plan import PlannedSync


class Conflict(Frozen):
    """The API says that such a job is running already; `job_id` where it tells which."""

    job_id: str | None


class JobApi:
    """The job side of one account at one API."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        keeper: Keeper,
        account: str,
        params: Mapping[str, Any],
        sync: PlannedSync | None = None,
    ) -> None:
        """`account` is the value of `${account}` in the profile's templates, `params` are those of every sync."""
        self._client = client
        self._profile = profile
        self._keeper = keeper
        self._account = account
        self._params = params
        self._sync = sync
        self._user_id: str | None = None
        self._found: dict[str, str] | None = None  # by the profile's lookups

    def about(self, sync: PlannedSync) -> "JobApi":
        """The same API, asked about one sync with its parameters."""
        return JobApi(self._client, self._profile, self._keeper, self._account, self._params, sync)

    def listen(self, heard: Callable[[str, Answer], None]) -> None:
        """Have every answer told to `heard` with its endpoint, those of the login too."""
        self._client.heard = heard

    @property
    def spelling(self) -> Jobs:
        """What the profile says of jobs, for deciding what can be asked."""
        return self._profile.jobs

    async def trigger(self, sync: PlannedSync, key: str, deadline: Deadline, observer: Observer) -> Job | Conflict:
        """Ask for a job. Where the answer was lost or can not be read, the error's `sent` says that it may be taken."""
        trigger = self.spelling.trigger
        values = await self._values(deadline, observer) | {
            "start_date": sync.start_date,
            "end_date": sync.end_date,
            "force_full": sync.force_full,
            "idempotency_key": key,
        }
        # Even with a key only what was certainly not taken is sent again here; `execute` decides about the rest.
        answer = await self._send("trigger", trigger.request, values, Safety.ONCE, deadline, observer)
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
            raise Unreachable(f"trigger: the API answered {answer.status}{without}", asked=answer.asked)
        raise self._refused("trigger", answer)

    @property
    def _id_beside_body(self) -> bool:
        """Whether the trigger's answer is understood without its body."""
        sources = self.spelling.trigger.job_id or ()
        return self.spelling.single is not None or any(source.body is None for source in sources)

    def _begun(self, answer: Answer, sync: PlannedSync, key: str, values: Mapping[str, Any]) -> Job:
        """The job that an accepted trigger has begun."""
        trigger = self.spelling.trigger
        found = key if self.spelling.single else text(answer, trigger.job_id, values)
        job = reading.job(self.spelling, find(answer.body, trigger.job), job_id=found, begun=True)
        carried = {name: text(answer, sources) for name, sources in trigger.carry.items()}
        kept = {name: value for name, value in carried.items() if value is not None}
        return replace(job, sync_type=job.sync_type or sync.sync_type, carried=kept, begun_at=answer.left_at)

    async def look(self, job: Job, deadline: Deadline, observer: Observer) -> Job:
        """The job as it is now. Raises ContractError when the API does not know it any more."""
        look = self.spelling.status
        values = await self._values(deadline, observer, job)
        answer = await self._send("status", look.request, values, Safety.REPEATABLE, deadline, observer)
        if answer.status in look.missing:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} any more ({answer.status})")
        found = find(self._body("status", answer, look.accepted), look.job)
        if reading.idle(self.spelling, found):
            if job.status is JobStatus.PENDING:  # taken, and not begun
                return replace(job, look_again=answer.asked)
            found = None
        if found is None:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} (shape: {shape(answer.body)})")
        now = reading.job(self.spelling, found, job_id=job.job_id)
        if self.spelling.single and now.sync_type not in (None, job.sync_type):
            raise OutcomeUnknown(
                f"status: the API shows a job of type {now.sync_type} now; how that of type {job.sync_type} ended it does "
                "not tell: look there before you run it again"
            )
        return replace(now, sync_type=now.sync_type or job.sync_type, carried=job.carried, look_again=answer.asked)

    async def newest(self, name: str, deadline: Deadline, observer: Observer) -> Job | None:
        """What an API of one job at a time shows, called `name`; None where it shows that there is no job."""
        look = self.spelling.status
        values = await self._values(deadline, observer)
        answer = await self._send("status", look.request, values, Safety.REPEATABLE, deadline, observer)
        if answer.status in look.missing:
            return None
        found = find(self._body("status", answer, look.accepted), look.job)
        if found is None or reading.idle(self.spelling, found):
            return None
        return replace(reading.job(self.spelling, found, job_id=name), look_again=answer.asked)

    async def listed(self, sync_type: str, deadline: Deadline, observer: Observer) -> list[Job] | None:
        """The jobs of that type and of this user, newest first; None where the API has no listing."""
        listing = self.spelling.running
        if listing is None:
            return None
        values = await self._values(deadline, observer)
        answer = await self._send("list", listing.request, values, Safety.REPEATABLE, deadline, observer)
        jobs = self._read_list(self._body("list", answer, listing.accepted), listing.jobs)
        return [job for job in jobs if job.sync_type in (sync_type, None) and self._mine(job)]

    def _mine(self, job: Job) -> bool:
        """Whether the job is this user's, as far as both are told."""
        return None in (job.user_id, self._user_id) or job.user_id == self._user_id

    def server_time(self, at: float) -> float:
        """Our Unix time `at` by the server's clock, as far as its skew is known."""
        return at + self._keeper.stored.skew

    @property
    def budget(self) -> Budget:
        """The retries that are left to the run."""
        return self._client.budget

    async def recent(self, limit: int, deadline: Deadline, observer: Observer) -> list[Job]:
        """The newest jobs. Raises ContractError where the profile has no listing."""
        listing = self.spelling.recent
        if listing is None:
            raise ContractError(
                "list: this profile has no listing of jobs; `status --offline` shows what the runner remembers"
            )
        values = {"limit": limit, **self._constant(None, complete=False)}
        answer = await self._send("list", listing.request, values, Safety.REPEATABLE, deadline, observer)
        return self._read_list(self._body("list", answer, listing.accepted), listing.jobs)

    async def cancel(self, job: Job, deadline: Deadline, observer: Observer) -> Job | None:
        """Ask for the job's end; the job as the API then has it, None where it does not say. Raises ContractError."""
        cancel = self.spelling.cancel
        if cancel is None:
            raise ContractError("cancel: this profile has no way to cancel a job")
        values = await self._values(deadline, observer, job)
        answer = await self._send("cancel", cancel.request, values, Safety.REPEATABLE, deadline, observer)
        if answer.status not in cancel.accepted:
            raise self._refused("cancel", answer)
        if cancel.job is None or not answer.is_json:
            return None
        return reading.job(self.spelling, find(answer.body, cancel.job), job_id=job.job_id)

    def _read_list(self, body: Any, expression: str) -> list[Job]:
        found = find(body, expression)
        if not isinstance(found, list):
            raise ContractError(f"list: `{expression}` should be a list of jobs (shape: {shape(body)})")
        return [reading.job(self.spelling, item) for item in found]

    def _constant(self, sync_type: str | None, *, complete: bool = True) -> dict[str, Any]:
        """The values that do not depend on any answer. Raises UsageError for parameters that do not fit."""
        given = {**self._params, **(self._sync.params if self._sync else {})}
        word = self._sync.sync_type if self._sync else sync_type
        known = asking.values(self._profile, word, given, "params", complete=complete)
        return {"account": self._account, "sync_type": self.spelling.sync_types.get(word or "", word), **known}

    async def _values(self, deadline: Deadline, observer: Observer, job: Job | None = None) -> dict[str, Any]:
        """All that a request may use: what is constant, what the lookups found, and what is known of the job."""
        values = self._constant(job.sync_type if job else None)
        if self._found is None:
            self._found = {}
            for lookup in self.spelling.lookups:
                self._found |= await self._look_up(lookup, values | self._found, deadline, observer)
        values |= self._found
        return values if job is None else {**values, **job.carried, "job_id": job.job_id}

    async def _look_up(
        self, lookup: Lookup, values: Mapping[str, Any], deadline: Deadline, observer: Observer
    ) -> dict[str, str]:
        try:
            answer = await self._send("lookup", lookup.request, values, Safety.REPEATABLE, deadline, observer)
        except RunnerError as error:  # what is to follow was certainly not sent
            error.sent = False
            raise
        self._body("lookup", answer, lookup.accepted)
        found = {}
        for name, sources in lookup.carry.items():
            value = text(answer, sources)
            if value is None:
                raise ContractError(f"lookup: nothing at `{reading.named(sources)}` (shape: {shape(answer.body)})")
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
    ) -> Answer:
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

    def _errorless(self, endpoint: str, answer: Answer) -> Answer:
        """The answer. Raises ContractError for an error that hides behind a good status."""
        if answer.status < 400 and find(answer.body, self._profile.errors.when):
            raise self._refused(endpoint, answer)
        return answer

    async def _session(self, deadline: Deadline, observer: Observer, *, rejected: Session | None = None) -> Session:
        """The account's session. A lost answer to the login leaves no doubt about the request that was to follow it."""
        left = None if deadline.left == float("inf") else deadline.left
        try:
            async with asyncio.timeout(left):  # another sync may be at the login, with more time than this one
                session = await self._keeper.session(deadline, observer, rejected=rejected)
        except TimeoutError:
            raise DeadlineExceeded(f"login: no session before {deadline.what} ended") from None
        except RunnerError as error:
            error.sent = False
            raise
        self._user_id = session.user_id
        return session

    async def _signed(
        self, call: Call, session: Session, safety: Safety, deadline: Deadline, observer: Observer
    ) -> Answer:
        signed = replace(call, headers={**call.headers, **self._keeper.headers(session)})
        return await self._client.send(signed, safety=safety, deadline=deadline, observer=observer)

    def _body(self, endpoint: str, answer: Answer, accepted: Collection[int]) -> Any:
        if answer.status not in accepted:
            raise self._refused(endpoint, answer)
        if not answer.is_json:
            kind = answer.headers.get("content-type", "no content type")[:60]
            raise ContractError(f"{endpoint}: the answer is not JSON ({kind}); is base_url the API's address?")
        return answer.body

    def _refused(self, endpoint: str, answer: Answer) -> ContractError:
        said = reading.message(self._profile.errors, answer.body)
        return ContractError(f"{endpoint}: the API answered {answer.status}{f': {said}' if said else ''}")


def _body_at(expression: str | None) -> tuple[Source, ...]:
    return () if expression is None else (Source(body=expression),)
