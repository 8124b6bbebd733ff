"""Tests a profile: does each thing it describes once at the real API, judges it, and reports the responses without values."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from runner.auth.interface import SessionProvider
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError, ExitCode, RunnerError, UsageError
from runner.events.observer import Observer, Record
from runner.external import show
from runner.frozen import Frozen
from runner.http.messages import Response
from runner.jobs import trial_values
from runner.jobs.api import Conflict, JobApi
from runner.jobs.plan import PlannedSync
from runner.models import JobStatus, SyncJob, UserSession
from runner.profile import Profile, extraction
from runner.profile import suggestions as suggest
from runner.profile.expressions import find, shape

POLL_SECONDS = 1.0
CANCEL_SECONDS = 15.0  # within which a cancelled job should end
FITS, NOT, ABSENT, SKIPPED = "fits", "does not fit", "absent", "not tried"


class Finding(Frozen):
    """One row: the `part` of the profile, how it `fits`, what the API returned, and a possible correction."""

    part: str
    fits: str
    found: str = ""
    shape: str = ""
    fix: str = ""
    code: int = 0


class Trial:
    """Runs one account through the profile."""

    def __init__(
        self, profile: Profile, provider: SessionProvider, api: JobApi, clock: Clock, observer: Observer
    ) -> None:
        """Sends nothing yet."""
        self._profile, self._keeper, self._api, self._clock = profile, provider, api, clock
        self._events: list[Any] = []
        self._observer = Observer(clock, [*observer.listeners, self._note], observer.context)
        self._answer: Response | None = None
        self._seen: list[str] = []
        self.findings: list[Finding] = []
        api.listen(self._heard)

    def _note(self, record: Record) -> None:
        self._events.append(record.event)

    def _heard(self, _endpoint: str, answer: Response) -> None:
        self._answer = answer

    async def run(self, sync: PlannedSync | None, key: str, deadline: Deadline, *, to_end: bool = False) -> None:
        """Tests login, refresh and listings, with a `sync` also trigger, status and cancel; `to_end`: its end instead
        of cancel."""
        session = await self._login(deadline)
        if session is None:
            return
        await self._refresh(session, deadline)
        await self._listing("jobs.recent", self._api.profile.recent, lambda: self._recent(deadline))
        if sync is None:
            for part in ("jobs.trigger", "jobs.status", "jobs.cancel"):
                self._add(part, SKIPPED, "would start a sync", fix="choose a harmless one with --sync TYPE")
            return
        api = self._api.about(sync)
        await self._listing("jobs.running", self._api.profile.running, lambda: self._running(api, sync, deadline))
        job = await self._trigger(api, sync, key, deadline)
        if job is not None:
            job = await self._status(api, job, deadline) or job
            await (self._to_end if to_end else self._cancel)(api, job, deadline)

    async def _login(self, deadline: Deadline) -> UserSession | None:
        if self._profile.auth.static:
            self._add(
                "auth", FITS, "no login: each request carries the secrets; the next row shows whether they are accepted"
            )
            return await self._keeper.session(deadline, self._observer)
        await self._keeper.forget(deadline, cooldown=False)
        session: UserSession | None = await self._judged(
            "auth.steps", lambda: self._keeper.session(deadline, self._observer)
        )
        if session is None:
            return None
        found = "logged in" + (" with a one-time code" if session.token.mfa_verified else "")
        self._add("auth.steps", FITS, found)
        fields = self._profile.auth.session
        if fields is not None and self._answer is not None:
            self._rows(trial_values.of_session(fields, self._answer, session.carried))
        for name, value in (("refresh_token", session.refresh_token), ("expires_in", session.expires_at)):
            wanted = fields is not None and getattr(fields, name) is not None
            if wanted and value is None and not any(row.part == f"auth.session.{name}" for row in self.findings):
                self._missing(f"auth.session.{name}", name)
        return session

    async def _refresh(self, session: UserSession, deadline: Deadline) -> None:
        if self._profile.auth.refresh is None:
            self._add("auth.refresh", ABSENT, "a new login instead" if not self._profile.auth.static else "")
            return
        if session.refresh_token is None:
            self._add("auth.refresh", SKIPPED, "the login returned no refresh token")
            return
        self._events.clear()
        again = await self._judged(
            "auth.refresh", lambda: self._keeper.session(deadline, self._observer, rejected=session)
        )
        if again is None:
            return
        failed = [event.error for event in self._events if event.name == "session.failed"]
        if failed:
            self._add(
                "auth.refresh", NOT, failed[0], fix="see `path`, `accepted` and `session`", code=ExitCode.CONTRACT
            )
        else:
            self._add("auth.refresh", FITS, "a new token")

    async def _recent(self, deadline: Deadline) -> list[SyncJob]:
        return await self._api.recent(5, deadline, self._observer)

    async def _running(self, api: JobApi, sync: PlannedSync, deadline: Deadline) -> list[SyncJob]:
        listed = await api.listed(sync.sync_type, deadline, self._observer)
        return [] if listed is None else list(listed.jobs)

    async def _listing(self, part: str, profile: object, ask: Callable[[], Awaitable[list[SyncJob]]]) -> None:
        if profile is None:
            self._add(part, ABSENT)
            return
        jobs = await self._judged(part, ask)
        if jobs is not None:
            self._add(part, FITS, f"{len(jobs)} jobs")

    async def _trigger(self, api: JobApi, sync: PlannedSync, key: str, deadline: Deadline) -> SyncJob | None:
        answer: SyncJob | Conflict | None = await self._judged(
            "jobs.trigger", lambda: api.trigger(sync, key, deadline, self._observer)
        )
        if isinstance(answer, Conflict):
            named = "and it is named" if answer.job_id else "and it is not named"
            self._add("jobs.trigger", FITS, f"a conflict: such a job runs, {named}", fix="try again when it has ended")
            return None
        if answer is not None:
            self._add("jobs.trigger", FITS, f"job {show(answer.job_id, 40)} is {answer.status}")
        return answer

    async def _status(self, api: JobApi, job: SyncJob, deadline: Deadline) -> SyncJob | None:
        now: SyncJob | None = await self._judged("jobs.status", lambda: api.poll(job, deadline, self._observer))
        if now is None:
            return None
        self._add("jobs.status", FITS, f"job {show(now.job_id, 40)} is {now.status}")
        optional = ("sync_type", "progress", "start_time", "total_items", "processed_items")
        body = (
            find(self._answer.body, self._api.profile.status.job, await self._api.values(job, deadline, self._observer))
            if self._answer
            else None
        )
        for name in optional:
            profile = getattr(self._api.profile.fields, name)
            if profile is not None and find(body, profile) is None:
                self._missing(f"jobs.fields.{name}", name, body)
        return now

    async def _cancel(self, api: JobApi, job: SyncJob, deadline: Deadline) -> None:
        if self._api.profile.cancel is None:
            self._add("jobs.cancel", ABSENT, "the job continues" if not job.status.terminal else "")
            return
        asked = await self._judged("jobs.cancel", lambda: self._asked_to_cancel(api, job, deadline))
        if asked is None:
            return
        until = Deadline.after(self._clock, CANCEL_SECONDS, "the time for the trial").min(deadline)
        after = await self._ended(api, job, until)
        if after is None:
            return
        if after.status is JobStatus.CANCELLED:
            self._add("jobs.cancel", FITS, "the job is cancelled")
        elif after.status.terminal:
            self._add(
                "jobs.cancel", FITS, f"the job is {after.status}", fix="see jobs.words, if it should be cancelled"
            )
        else:
            found = f"accepted, and {CANCEL_SECONDS:.0f} s later the job is {after.status}"
            self._add(
                "jobs.cancel", NOT, found, fix="see `path` and `accepted`: does it cancel?", code=ExitCode.CONTRACT
            )

    async def _ended(self, api: JobApi, job: SyncJob, until: Deadline) -> SyncJob | None:
        """Polls until the job ends, or the deadline; returns None where a poll does not fit, which is reported."""
        words: list[str] = []
        while True:
            now: SyncJob | None = await self._judged("jobs.status", lambda: api.poll(job, until, self._observer))
            if now is None:
                return None
            if not words or words[-1] != now.status:
                words.append(now.status)
            if now.status.terminal or until.remaining <= POLL_SECONDS:
                self._seen = words
                return now
            await self._clock.sleep(POLL_SECONDS)

    async def _to_end(self, api: JobApi, job: SyncJob, deadline: Deadline) -> None:
        """Follows the job to its end, and shows every value that was read."""
        began = self._clock.monotonic()
        now = await self._ended(api, job, deadline)
        if now is None:
            return
        found = f"{', '.join(self._seen)} within {self._clock.monotonic() - began:.0f} s"
        ended = now.status.terminal
        self._add("jobs.status", FITS if ended else NOT, found, code=0 if ended else ExitCode.DEADLINE)
        self._rows(trial_values.of_job(self._profile, now))
        results = self._profile.jobs.results
        if results is None or not ended:
            return
        values = await api.values(now, deadline, self._observer)
        answer = self._answer
        if results.request is not None:
            request = results.request
            answer = await self._judged(
                "jobs.results", lambda: api.ask("results", request, now, deadline, self._observer)
            )
        if answer is not None:
            self._rows(trial_values.of_results(results, answer, values))

    def _rows(self, rows: Iterable[trial_values.Row]) -> None:
        for part, fits, found, fix in rows:
            self._add(part, FITS if fits else NOT, found, fix=fix, code=0 if fits else ExitCode.CONTRACT)

    async def _asked_to_cancel(self, api: JobApi, job: SyncJob, deadline: Deadline) -> bool:
        """Raises ContractError where the profile misreads the response: a run would then poll without end."""
        await api.cancel(job, deadline, self._observer)
        cancel, answer = self._api.profile.cancel, self._answer
        if cancel is not None and cancel.job is not None and answer is not None and answer.is_json:
            values = await self._api.values(job, deadline, self._observer)
            extraction.job(self._api.profile, find(answer.body, cancel.job, values), job_id=job.job_id.raw)
        return True

    async def _judged(self, part: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Returns what `ask` returns, or None and a finding where it does not fit."""
        self._answer = None
        try:
            return await ask()
        except RunnerError as error:
            code = (
                ExitCode.CONTRACT if isinstance(error, UsageError) else error.exit_code
            )  # the profile's request was refused
            self._add(part, NOT, str(error), fix=self._fix(error), code=code)
            return None

    def _fix(self, error: RunnerError) -> str:
        """Returns a possible correction, derived from the response."""
        answer = self._answer
        if answer is None or isinstance(error, AuthenticationError):
            return ""
        if answer.status == 404:
            return "see `path`: the API does not know this path"
        if not answer.is_json and answer.status < 300:
            return "see `path`: a page or an empty body arrived instead of JSON"
        if "no rule of the profile matches the response" in str(error):
            return f"add an answer with `status: {answer.status}` to the step"
        if f"answered {answer.status}" in str(error):
            return f"if {answer.status} means success, add it to `accepted`; else check the request's body and headers"
        if "unknown job status" in str(error):
            return "add the word to `jobs.words`, under the matching state"
        return _guess(str(error), answer.body)

    def _missing(self, part: str, name: str, body: Any = None) -> None:
        """Reports a value of the profile that the response lacks: no error, but worth a check."""
        body = body if body is not None or self._answer is None else self._answer.body
        near = suggest.where(name, body)
        fix = f"perhaps it is at `{near}`" if near else "null, if the API never sends it"
        self._add(part, ABSENT, "not in the response", fix=fix)

    def _add(self, part: str, fits: str, found: str = "", *, fix: str = "", code: int = 0) -> None:
        shown = "" if self._answer is None else shape(self._answer.body) if self._answer.is_json else "not JSON"
        self.findings.append(Finding(part, fits, found, shown, fix, int(code)))


def _guess(problem: str, body: Any) -> str:
    """Returns where the missing value may be."""
    if "does not know job" in problem or problem.startswith("status: nothing at"):
        inner = (suggest.where("status", body) or "").rpartition(".")[0]
        return f"perhaps `job: {inner}`" if inner else ""
    missed = {"access token": "access_token", "job id": "job_id", "job status": "status", "progress": "progress"}
    near = next((suggest.where(name, body) for words, name in missed.items() if words in problem), None)
    return f"perhaps it is at `{near}`" if near else ""
