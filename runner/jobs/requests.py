"""Requests about jobs, filled in and sent with a session that is kept good. Knows no job."""
# Decision 0173.

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.auth.interface import SessionProvider
from runner.clock import Deadline
from runner.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceeded,
    PermissionMissing,
    RunnerError,
    StrayAnswer,
    Unreachable,
    UsageError,
)
from runner.events.observer import Observer
from runner.external import raw, show
from runner.http import failures, retry
from runner.http.client import Client
from runner.http.messages import PreparedRequest, Response, prepare
from runner.http.retry import Safety
from runner.jobs.plan import PlannedSync
from runner.models import SyncJob, UserSession
from runner.profile import Profile, extraction, parameters
from runner.profile.expressions import shape
from runner.profile.models import Lookup, Request
from runner.profile.parts import Rule

DENIED = 403
NOT_FOUND = 404
LIST = "list"


@dataclass(slots=True)
class Rights:
    """What an account's syncs share: whether the API denied something to a session that had just begun."""

    denied: bool = False


class JobRequests:
    """The requests of one account about one sync, or about none."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        provider: SessionProvider,
        account: str,
        params: Mapping[str, Any],
        rights: Rights,
        sync: PlannedSync | None = None,
    ) -> None:
        """`account` is the value of `${account}` in the profile's templates, `params` are those of every sync."""
        self.client, self.profile, self.provider = client, profile, provider
        self._account, self._params, self._rights, self._sync = account, params, rights, sync
        self._found: dict[str, Any] | None = None  # by the profile's lookups
        self.user_id: str | None = None

    def about(self, sync: PlannedSync) -> "JobRequests":
        """The same account's requests, about one sync with its parameters."""
        return JobRequests(
            self.client, self.profile, self.provider, self._account, self._params, self._rights, sync
        )  # fmt: skip

    def constant(self, sync_type: str | None, *, complete: bool = True) -> dict[str, Any]:
        """The values that do not depend on any answer. Raises UsageError for parameters that do not fit."""
        given = {**self._params, **(self._sync.params if self._sync else {})}
        word = self._sync.sync_type if self._sync else sync_type
        known = parameters.values(self.profile, word, given, "params", complete=complete)
        return {"account": self._account, "sync_type": self.profile.jobs.sync_types.get(word or "", word), **known}

    async def values(self, deadline: Deadline, observer: Observer, job: SyncJob | None = None) -> dict[str, Any]:
        """All that a request may use: what is constant, what the lookups found, and what is known of the job."""
        values = self.constant(raw(job.sync_type) if job and job.sync_type else None)
        if self._found is None:
            found: dict[str, Any] = {}
            for lookup in self.profile.jobs.lookups:
                found |= await self.look_up(lookup, values | found, deadline, observer)
            self._found = found
        values |= self._found
        return values if job is None else {**values, **job.carried, "job_id": job.job_id.raw}

    async def look_up(
        self, lookup: Lookup, values: Mapping[str, Any], deadline: Deadline, observer: Observer
    ) -> dict[str, Any]:
        """What the lookup carries. Raises UsageError where the API has no such thing, or what a request can."""
        try:
            answer = await self.send("lookup", lookup.request, values, Safety.IDEMPOTENT, deadline, observer)
        except RunnerError as error:  # what is to follow was certainly not sent
            error.sent = False
            raise
        if answer.status == NOT_FOUND and answer.is_json:
            raise UsageError(
                f"{self.refused('lookup', answer)} (asked for `{values.get('sync_type')}`); check the sync's type and parameters"
            )
        body = self.body("lookup", answer, lookup.accepted, values)
        found = {}
        for name, sources in lookup.carry.items():
            value = extraction.structure(answer, sources, values)
            if value is None:
                raise self._nothing(body, extraction.named(sources), values.get("sync_type"))
            found[name] = value
        return found

    def _nothing(self, body: Any, place: str, sync_type: Any) -> RunnerError:
        """What to raise where a lookup's value is missing: an empty list means that the API has no such thing."""
        if [] in (body, *(body.values() if isinstance(body, dict) else ())):
            return UsageError(f"lookup: the API has nothing for `{sync_type}`; check the sync's type and parameters")
        return ContractError(f"lookup: nothing at `{place}` (shape: {shape(body)})")

    async def read(
        self,
        endpoint: str,
        request: Request,
        values: Mapping[str, Any],
        deadline: Deadline,
        observer: Observer,
        meant: tuple[Rule, ...] = (),
    ) -> Response:
        """Send a request that only reads, once: who polls goes on by himself. Raises Unreachable where a server fails."""
        answer = await self.send(endpoint, request, values, None, deadline, observer, meant)
        if answer.status in retry.NOT_TAKEN | retry.MAYBE_TAKEN and not extraction.tells(meant, answer, values):
            raise Unreachable(f"{endpoint}: the API answered {answer.status}", retry_after=answer.retry_after)
        return answer

    async def send(
        self,
        endpoint: str,
        request: Request,
        values: Mapping[str, Any],
        safety: Safety | None,
        deadline: Deadline,
        observer: Observer,
        meant: tuple[Rule, ...] = (),
        accepted: tuple[Rule, ...] = (),
    ) -> Response:
        """Send with the session; where the API says it expired, once more with a new one. `safety` None: no other retry.

        `meant` are rules of answers that the caller understands, so that `errors.when` does not count for them. What they
        or `accepted` say of redirects makes these answers like others.
        """
        session = await self._session(deadline, observer)
        call = replace(prepare(endpoint, request, values), may_be_cut=endpoint == LIST)
        redirects = tuple(rule for rule in (*meant, *accepted) if extraction.redirects((rule,)))
        answer = await self._signed(call, session, safety, deadline, observer, redirects)
        if not self._expired(answer):
            return self._errorless(endpoint, answer, values, meant)
        session = await self._session(deadline, observer, rejected=session)
        answer = await self._signed(call, session, safety, deadline, observer, redirects)
        if not self.provider.expired(answer):
            return self._errorless(endpoint, answer, values, meant)
        if answer.status == DENIED:
            self._rights.denied = True
            raise self.refused(endpoint, answer)
        if 300 <= answer.status < 400:  # with a new session too: no gate that wants another
            raise failures.redirected(endpoint, answer.status)
        raise AuthenticationError(
            f"{endpoint}: the API refuses a token it has just given ({answer.status}); the login was right, so check for what "
            "the token is (audience, issuer, scope)"
        )

    async def signed(
        self, endpoint: str, request: Request, values: Mapping[str, Any], deadline: Deadline, observer: Observer
    ) -> PreparedRequest:
        """The request with the session in use, for a client that decides nothing: no session is renewed for it."""
        session = self.provider.current
        if session is None and self.provider.static:
            session = await self._session(deadline, observer)
        if session is None:
            raise ContractError(f"{endpoint}: there is no session any more")
        call = prepare(endpoint, request, values)
        return replace(call, headers={**call.headers, **self.provider.headers(session)})

    def _expired(self, answer: Response) -> bool:
        """Whether a new session may help: 403 may mean a missing right, which a session that has just begun lacks too."""
        return self.provider.expired(answer) and not (answer.status == DENIED and self._rights.denied)

    def _errorless(
        self, endpoint: str, answer: Response, values: Mapping[str, Any], meant: tuple[Rule, ...]
    ) -> Response:
        """The answer. Raises ContractError for an error that hides behind a good status."""
        when = self.profile.errors.when
        if (
            when
            and answer.status < 400
            and extraction.fits(when, answer)
            and not extraction.tells(meant, answer, values)
        ):
            raise self.refused(endpoint, answer)
        return answer

    async def _session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """The account's session. A lost answer to the login leaves no doubt about the request that was to follow it."""
        try:
            async with asyncio.timeout(
                deadline.remaining
            ):  # another sync may be at the login, with more time than this one
                session = await self.provider.session(deadline, observer, rejected=rejected)
        except TimeoutError:
            raise DeadlineExceeded(f"login: no session before {deadline.what} ended") from None
        except RunnerError as error:
            error.sent = False
            raise
        self.user_id = session.user_id
        return session

    async def _signed(
        self,
        call: PreparedRequest,
        session: UserSession,
        safety: Safety | None,
        deadline: Deadline,
        observer: Observer,
        redirects: tuple[Rule, ...],
    ) -> Response:
        headers = {**call.headers, **self.provider.headers(session, call.target)}
        signed = replace(call, headers=headers, takes_redirect=bool(redirects) or self.provider.takes_redirect)
        if safety is None:
            answer = await self.client.exchange(signed, 1, deadline, observer)
        else:
            answer = await self.client.send(signed, safety=safety, deadline=deadline, observer=observer)
        if answer.set_cookies:
            await self.provider.answered(session, answer, call.target, deadline)
        is_redirect = 300 <= answer.status < 400 and not self.provider.expired(answer)
        if is_redirect and not extraction.fits(redirects, answer):
            raise failures.redirected(call.endpoint, answer.status)
        return answer

    def body(
        self, endpoint: str, answer: Response, accepted: tuple[Rule, ...], values: Mapping[str, Any] | None = None
    ) -> Any:
        """The JSON of an accepted answer. Raises ContractError, or StrayAnswer for what is no JSON."""
        if not extraction.fits(accepted, answer, values):
            raise self.refused(endpoint, answer)
        if not answer.is_json:
            kind = show(answer.headers.get("content-type", "no content type"), 60)
            raise StrayAnswer(f"{endpoint}: the answer is not JSON ({kind}); is base_url the API's address?")
        return answer.body

    def refused(self, endpoint: str, answer: Response) -> RunnerError:
        """What to raise for an answer that is not accepted, with the API's own words."""
        said = self.words(answer)
        told = f"{endpoint}: the API answered {answer.status}{f': {said}' if said else ''}"
        errors = self.profile.errors
        if extraction.tells(errors.permission, answer) or (answer.is_json and answer.status == DENIED):
            return PermissionMissing(f"{told}; give the account the right to do this")
        if extraction.tells(errors.settings, answer):
            return UsageError(f"{told}; check the sync's type, dates and parameters")
        return ContractError(told) if answer.is_json else StrayAnswer(told)

    def refused_by_name(self, answer: Response) -> bool:
        """Whether the profile says of this very status that the request was refused: of a failing server only that is certain."""
        errors = self.profile.errors
        return extraction.tells(tuple(r for r in (*errors.settings, *errors.permission) if r.status), answer)

    def words(self, answer: Response) -> str | None:
        """The API's own words about what went wrong."""
        return extraction.message(self.profile.errors, answer)
