"""Builds requests about jobs and sends them with a valid session. Knows no job."""
# Decision 0173.

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

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
    """Data that an account's syncs share: whether the API denied a request to a new session."""

    denied: bool = False


class JobRequests:
    """The requests of one account, about one sync or none."""

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
        self._found: dict[str, Any] | None = None  # values of the profile's lookups
        self.user_id: str | None = None

    def about(self, sync: PlannedSync) -> "JobRequests":
        """Returns the same account's requests for one sync with its parameters."""
        return JobRequests(
            self.client, self.profile, self.provider, self._account, self._params, self._rights, sync
        )  # fmt: skip

    def constant(self, sync_type: str | None, *, complete: bool = True) -> dict[str, Any]:
        """Returns the values that depend on no response. Raises UsageError for invalid parameters."""
        given = {**self._params, **(self._sync.params if self._sync else {})}
        word = self._sync.sync_type if self._sync else sync_type
        known = parameters.values(self.profile, word, given, "params", complete=complete)
        return {"account": self._account, "sync_type": self.profile.jobs.sync_types.get(word or "", word), **known}

    async def values(self, deadline: Deadline, observer: Observer, job: SyncJob | None = None) -> dict[str, Any]:
        """Returns all values for a request: the constants, the lookups' values, and what is known of the job."""
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
        """Returns the values of the lookup. Raises UsageError where the API has no such object, or what a request raises."""

        async def once(_attempt: int) -> Response:
            try:
                answer = await self.send("lookup", lookup.request, values, None, deadline, observer)
                if not answer.is_json and answer.status not in retry.FAILURES | retry.RATE_LIMITED:
                    self.body("lookup", answer, lookup.accepted, values)
            except StrayAnswer as error:  # a page of a gateway, or of a server that starts: as for a poll
                raise Unreachable(str(error)) from None
            return answer

        try:
            answer = await self.client.tries.repeat(
                "lookup",
                once,
                why=lambda failure: retry.reason(failure, Safety.IDEMPOTENT),
                deadline=deadline,
                observer=observer,
            )
            if answer.status == NOT_FOUND and answer.is_json:
                asked = f"requested `{values.get('sync_type')}`"
                raise UsageError(f"{self.refused('lookup', answer)} ({asked}); check the sync's type and parameters")
            body = self.body("lookup", answer, lookup.accepted, values)
        except RunnerError as error:  # the next request was certainly not sent
            error.sent = False
            raise
        found = {}
        for name, sources in lookup.carry.items():
            value = extraction.structure(answer, sources, values)
            if value is None:
                raise self._nothing(body, extraction.named(sources), values.get("sync_type"))
            found[name] = value
        return found

    def _nothing(self, body: Any, place: str, sync_type: Any) -> RunnerError:
        """Returns the error for a missing lookup value: an empty list means that the API has no such object."""
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
        """Sends a read-only request once: a poll loop retries itself. Raises Unreachable where a server fails."""
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
        """Sends with the session; where the API says it expired, once more with a new one. `safety` None: no other
        retry.

        `meant` are rules for responses that the caller handles, so that `errors.when` does not apply to them. Redirects that
        these or `accepted` name are accepted responses.
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
        if 300 <= answer.status < 400:  # with a new session too, so no gateway asks for another
            raise failures.redirected(endpoint, answer.status)
        raise AuthenticationError(
            f"{endpoint}: the API refuses a token that it just issued ({answer.status}); the login was "
            "accepted, so check the token's audience, issuer and scope"
        )

    async def signed(
        self, endpoint: str, request: Request, values: Mapping[str, Any], deadline: Deadline, observer: Observer
    ) -> PreparedRequest:
        """Returns the request with the current session, for a client that decides nothing: no session is renewed."""
        session = self.provider.current
        if session is None and self.provider.static:
            session = await self._session(deadline, observer)
        if session is None:
            raise ContractError(f"{endpoint}: the session has ended")
        call = prepare(endpoint, request, values)
        return replace(call, headers={**call.headers, **self.provider.headers(session)})

    def _expired(self, answer: Response) -> bool:
        """Whether a new session may help: 403 may mean a missing right, which a new session lacks too."""
        return self.provider.expired(answer) and not (answer.status == DENIED and self._rights.denied)

    def _errorless(
        self, endpoint: str, answer: Response, values: Mapping[str, Any], meant: tuple[Rule, ...]
    ) -> Response:
        """Returns the response. Raises ContractError for an error with a success status."""
        when = self.profile.errors.when
        if (
            when
            and answer.status < 400
            and extraction.tells(when, answer)
            and not extraction.tells(meant, answer, values)
        ):
            raise self.refused(endpoint, answer)
        return answer

    async def _session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """Returns the account's session. A lost login response leaves no doubt about the request after it."""
        try:
            async with asyncio.timeout(
                deadline.remaining
            ):  # another sync may be logging in, with more time than this one
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
        signed = replace(call, headers=headers, takes_redirect=True)
        if safety is None:
            answer = await self.client.exchange(signed, 1, deadline, observer)
        else:
            answer = await self.client.send(signed, safety=safety, deadline=deadline, observer=observer)
        if answer.set_cookies:
            await self.provider.answered(session, answer, call.target, deadline)
        is_redirect = 300 <= answer.status < 400 and not self.provider.expired(answer)
        if is_redirect and not extraction.fits(redirects, answer):
            raise failures.redirected(call.endpoint, answer.status, sent=self._shows_result(call, answer))
        return answer

    def _shows_result(self, call: PreparedRequest, answer: Response) -> bool:
        """Whether a trigger or cancel is redirected to its result: by 302 or 303 (RFC 9110, 15.4), within the API."""
        place = raw(answer.headers.get("location", ""))
        try:
            own = urlsplit(place).netloc in ("", urlsplit(self.client.address).netloc)
        except ValueError:
            return False
        return call.endpoint in ("trigger", "cancel") and answer.status in (302, 303) and bool(place) and own

    def body(
        self, endpoint: str, answer: Response, accepted: tuple[Rule, ...], values: Mapping[str, Any] | None = None
    ) -> Any:
        """Returns the JSON of an accepted response. Raises ContractError, or StrayAnswer for what is not JSON."""
        if not extraction.fits(accepted, answer, values) or self.of_a_proxy(answer):
            raise self.refused(endpoint, answer)
        if not answer.is_json:
            kind = show(answer.headers.get("content-type", "no content type"), 60)
            raise StrayAnswer(f"{endpoint}: the response is not JSON ({kind}); is base_url the API's address?")
        return answer.body

    def refused(self, endpoint: str, answer: Response) -> RunnerError:
        """Returns the error for a response that is not accepted, with the API's own words."""
        said = self.words(answer)
        message = f"{endpoint}: the API answered {answer.status}{f': {said}' if said else ''}"
        errors = self.profile.errors
        if extraction.tells(errors.permission, answer) or (answer.is_json and answer.status == DENIED):
            return PermissionMissing(f"{message}; give the account the right to do this")
        if extraction.tells(errors.settings, answer):
            return UsageError(f"{message}; check the sync's type, dates and parameters")
        if self.of_a_proxy(answer):
            came = f"{endpoint}: {answer.status} came with {answer.stray}"
            return Unreachable(f"{came}, not from the API (maintenance? is base_url its address?)")
        return ContractError(message) if answer.is_json else StrayAnswer(message)

    def of_a_proxy(self, answer: Response, named: tuple[Rule, ...] = ()) -> bool:
        """Whether a proxy or firewall responds in the API's place: a page, or a 404 without JSON, that no rule of the
        profile is `named` for."""
        return bool(answer.stray) and not extraction.tells(named, answer)

    def refused_by_name(self, answer: Response) -> bool:
        """Whether the profile maps this very status to a refusal: of a failing server, only that is certain."""
        errors = self.profile.errors
        return extraction.tells(tuple(r for r in (*errors.settings, *errors.permission) if r.status), answer)

    def words(self, answer: Response) -> str | None:
        """Returns the API's own words about the error."""
        return extraction.message(self.profile.errors, answer)
