"""Jobs over the wire: trigger, look up, list, cancel, in the profile's spelling, with a session that is kept good."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.api import retry
from runner.api.budget import Budget
from runner.api.client import Answer, Call, Client, prepare
from runner.api.profile import Jobs, Profile, Request, find, shape, text
from runner.api.retry import Safety
from runner.auth.session import SessionKeeper
from runner.clock import Deadline
from runner.errors import AuthenticationError, ContractError, DeadlineExceeded, RunnerError, Unreachable
from runner.frozen import Frozen
from runner.models import Job, Session
from runner.observe.interface import Observer
from runner.sync.plan import PlannedSync


class Conflict(Frozen):
    """The API says that such a job is running already; `job_id` where it tells which."""

    job_id: str | None


class JobApi:
    """The job side of one account at one API."""

    def __init__(self, client: Client, profile: Profile, keeper: SessionKeeper, account: str) -> None:
        """`account` is the value of `${account}` in the profile's templates."""
        self._client = client
        self._profile = profile
        self._keeper = keeper
        self._account = account
        self._user_id: str | None = None

    @property
    def spelling(self) -> Jobs:
        """What the profile says of jobs, for deciding what can be asked."""
        return self._profile.jobs

    async def trigger(self, sync: PlannedSync, key: str, deadline: Deadline, observer: Observer) -> Job | Conflict:
        """Ask for a job. Where the answer was lost or can not be read, the error's `sent` says that it may be taken."""
        trigger = self.spelling.trigger
        values = {
            "sync_type": sync.sync_type,
            "start_date": sync.start_date,
            "end_date": sync.end_date,
            "force_full": sync.force_full,
            "idempotency_key": key,
            "account": self._account,
        }
        # Even with a key only what was certainly not taken is sent again here; `execute` decides about the rest.
        answer = await self._send("trigger", trigger.request, values, Safety.ONCE, deadline, observer)
        if answer.status in trigger.accepted and answer.is_json:
            return self._new_job(answer)
        if answer.status in trigger.conflict:
            return Conflict(text(answer.body, trigger.conflict_job_id) if answer.is_json else None)
        if answer.status >= 500 or answer.status in {*retry.MAYBE_TAKEN, *trigger.accepted}:
            without = "" if answer.is_json else " without JSON"
            raise Unreachable(f"trigger: the API answered {answer.status}{without}", asked=answer.asked)
        raise _refused("trigger", answer)

    def _new_job(self, answer: Answer) -> Job:
        try:
            return self._profile.read_job(find(answer.body, self.spelling.trigger.job))
        except ContractError as error:
            raise ContractError(f"trigger: {error}", sent=True) from None

    async def look(self, job: Job, deadline: Deadline, observer: Observer) -> Job:
        """The job as it is now. Raises ContractError when the API does not know it any more."""
        look = self.spelling.status
        values = {"job_id": job.job_id, "sync_type": job.sync_type}
        answer = await self._send("status", look.request, values, Safety.REPEATABLE, deadline, observer)
        if answer.status in look.missing:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} any more ({answer.status})")
        found = find(_body("status", answer), look.job)
        if found is None:
            raise ContractError(f"status: the API does not know job {job.job_id[:80]} (shape: {shape(answer.body)})")
        now = self._profile.read_job(found, job_id=job.job_id)
        return replace(now, sync_type=now.sync_type or job.sync_type, look_again=answer.asked)

    async def listed(self, sync_type: str, deadline: Deadline, observer: Observer) -> list[Job] | None:
        """The jobs of that type and of this user, newest first; None where the API has no listing."""
        listing = self.spelling.running
        if listing is None:
            return None
        answer = await self._send(
            "list", listing.request, {"sync_type": sync_type}, Safety.REPEATABLE, deadline, observer
        )
        jobs = self._read_list(_body("list", answer), listing.jobs)
        return [job for job in jobs if job.sync_type == sync_type and self._mine(job)]

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
        answer = await self._send("list", listing.request, {"limit": limit}, Safety.REPEATABLE, deadline, observer)
        return self._read_list(_body("list", answer), listing.jobs)

    async def cancel(self, job: Job, deadline: Deadline, observer: Observer) -> Job | None:
        """Ask for the job's end; the job as the API then has it, None where it does not say. Raises ContractError."""
        cancel = self.spelling.cancel
        if cancel is None:
            raise ContractError("cancel: this profile has no way to cancel a job")
        values = {"job_id": job.job_id, "sync_type": job.sync_type}
        answer = await self._send("cancel", cancel.request, values, Safety.REPEATABLE, deadline, observer)
        if answer.status not in cancel.accepted:
            raise _refused("cancel", answer)
        if cancel.job is None or not answer.is_json:
            return None
        return self._profile.read_job(find(answer.body, cancel.job), job_id=job.job_id)

    def _read_list(self, body: Any, expression: str) -> list[Job]:
        found = find(body, expression)
        if not isinstance(found, list):
            raise ContractError(f"list: `{expression}` should be a list of jobs (shape: {shape(body)})")
        return [self._profile.read_job(item) for item in found]

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
            return answer
        session = await self._session(deadline, observer, rejected=session)
        answer = await self._signed(call, session, safety, deadline, observer)
        if self._keeper.expired(answer):
            raise AuthenticationError(f"{endpoint}: the API refuses a token it has just given ({answer.status})")
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


def _body(endpoint: str, answer: Answer) -> Any:
    if answer.status != 200:
        raise _refused(endpoint, answer)
    if not answer.is_json:
        kind = answer.headers.get("content-type", "no content type")[:60]
        raise ContractError(f"{endpoint}: the answer is not JSON ({kind}); is base_url the API's address?")
    return answer.body


def _refused(endpoint: str, answer: Answer) -> ContractError:
    said = find(answer.body, "error || message || detail") if isinstance(answer.body, dict) else None
    words = f": {said[:200]}" if isinstance(said, str) else ""
    return ContractError(f"{endpoint}: the API answered {answer.status}{words}")
