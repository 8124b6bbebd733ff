"""A profile: how one API spells login, trigger and status, as validated data. Loading, checking, and reading answers.

Nothing here sends anything, and no API has code of its own: `profiles/*.yaml` are files like any user's.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from runner import document
from runner.api import template
from runner.errors import ContractError, UsageError
from runner.models import JSON, Job, JobStatus

BUILT_IN = Path(__file__).parent / "profiles"
MAX_ID = 512  # characters of a job id: it goes into addresses and log lines

LOGIN_VALUES = frozenset({"username", "password", "code"})
TRIGGER_VALUES = frozenset({"sync_type", "start_date", "end_date", "force_full", "idempotency_key", "account"})


def _expression(text: str) -> str:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(text)
    except JMESPathError:
        raise ValueError("not a valid JMESPath expression (see jmespath.org)") from None
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


Expression = Annotated[str, AfterValidator(_expression)]
Status = Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], BeforeValidator(_listed)]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Request(_Part):
    """One request as a template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern=r"^/", description="Joined to base_url; placeholders are URL-quoted.")
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    json_: Any = Field(default=None, alias="json")
    form: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        if self.json_ is not None and self.form is not None:
            raise ValueError("give `json` or `form`, not both")
        return self


class Answer(_Part):
    """What an answer to a login step means. The first that fits is taken."""

    status: Status = (200,)
    when: Expression | None = Field(default=None, description="Only if this JMESPath expression is true of the body.")
    then: str = Field(
        description="done, refused, locked, unsupported, or the name of the next step, which may want a one-time code."
    )
    carry: dict[str, Expression] = Field(default={}, description="Values from the body for later steps.")


class Step(_Part):
    """One request of the login and what its answers mean."""

    request: Request
    answers: tuple[Answer, ...] = Field(min_length=1)

    @property
    def wants_code(self) -> bool:
        """Whether the request holds a one-time code."""
        return any(name == "code" for name, _optional, _place in template.names(self.request.model_dump()))


class SessionFields(_Part):
    """Where the session's values stand in the last answer (JMESPath)."""

    access_token: Expression
    refresh_token: Expression | None = None
    expires_in: Expression | None = Field(default=None, description="Lifetime in seconds.")
    token_type: Expression | None = None
    scope: Expression | None = None
    session_id: Expression | None = None
    user_id: Expression | None = None


class Refresh(_Part):
    """How a session is renewed without a login."""

    request: Request
    accepted: Status = (200,)


class Auth(_Part):
    """Login, refresh, and how the token goes with each request."""

    steps: dict[str, Step] = Field(min_length=1, description="The first is where a login begins.")
    session: SessionFields
    refresh: Refresh | None = None
    headers: dict[str, str] = Field(default={"Authorization": "Bearer ${access_token}"})
    expired: Status = Field(default=(401,), description="Answers that mean: the token is no longer good.")


class JobFields(_Part):
    """Where a job's values stand in the job's own object (JMESPath)."""

    job_id: Expression | None = "job_id"
    status: Expression = "status"
    sync_type: Expression | None = "sync_type"
    user_id: Expression | None = "user_id"
    progress: Expression | None = "progress"
    start_time: Expression | None = "start_time"
    end_time: Expression | None = "end_time"
    error_message: Expression | None = "error_message"
    total_items: Expression | None = "total_items"
    processed_items: Expression | None = "processed_items"


class Trigger(_Part):
    """How a sync is started, and what the answers mean."""

    request: Request
    accepted: Status = (200, 201, 202)
    job: Expression = "@"
    conflict: Status = Field(default=(409,), description="Answers that mean: such a job is running already.")
    conflict_job_id: Expression | None = None
    idempotent: bool = Field(
        default=False, description="A repeat with the same ${idempotency_key} returns the first answer."
    )


class Look(_Part):
    """How one job is looked up."""

    request: Request
    job: Expression = "@"
    missing: Status = (404,)


class Listing(_Part):
    """How jobs are listed, newest first."""

    request: Request
    jobs: Expression = "@"


class Cancel(_Part):
    """How a job is cancelled."""

    request: Request
    accepted: Status = (200, 202, 204)
    job: Expression | None = "@"


class Jobs(_Part):
    """Everything about jobs."""

    sync_types: tuple[str, ...] = Field(default=(), description="The types this API knows; empty: any word.")
    trigger: Trigger
    status: Look
    running: Listing | None = None
    recent: Listing | None = None
    cancel: Cancel | None = None
    fields: JobFields = JobFields()
    words: dict[JobStatus, Words] = {state: (state.value,) for state in JobStatus}
    progress: Literal["percent", "fraction"] = "percent"


class Profile(_Part):
    """One API's spelling."""

    version: Literal[1] = Field(description="The version of this format.")
    description: str
    auth: Auth
    jobs: Jobs

    @model_validator(mode="after")
    def _closed(self) -> "Profile":
        for place, request, allowed in _requests(self):
            parts = request.model_dump(by_alias=True)
            for name, _optional, at in template.names(parts):
                if name not in allowed:
                    where = ".".join(map(str, (*place, *at)))
                    raise ValueError(f"{where}: no value named `{name}`; known here: {', '.join(sorted(allowed))}")
        ends = {"done", "refused", "locked", "unsupported", *self.auth.steps}
        for name, step in self.auth.steps.items():
            for answer in step.answers:
                if answer.then not in ends:
                    raise ValueError(
                        f"auth.steps.{name}.answers: `then: {answer.then}` is no step; known: {', '.join(sorted(ends))}"
                    )
        return self

    def check_type(self, sync_type: str) -> None:
        """Raises UsageError for a type the profile does not know, naming those it does."""
        if self.jobs.sync_types and sync_type not in self.jobs.sync_types:
            raise UsageError(f"no sync type `{sync_type}` in this profile; known: {', '.join(self.jobs.sync_types)}")

    def read_job(self, data: JSON, *, job_id: str | None = None) -> Job:
        """The job in `data`. Raises ContractError naming the field that does not fit, never its value's secrets."""
        fields = self.jobs.fields
        found = text(data, fields.job_id) or job_id
        if not found:
            raise ContractError(f"the answer has no job id at `{fields.job_id}` (shape: {shape(data)})")
        if len(found) > MAX_ID:
            raise ContractError(
                f"the job id at `{fields.job_id}` has {len(found)} characters; at most {MAX_ID} are taken"
            )
        return Job(
            job_id=found,
            status=self._status(data),
            sync_type=text(data, fields.sync_type),
            user_id=text(data, fields.user_id),
            progress=self._progress(data),
            start_time=text(data, fields.start_time),
            end_time=text(data, fields.end_time),
            error_message=text(data, fields.error_message),
            total_items=_count(data, fields.total_items),
            processed_items=_count(data, fields.processed_items),
        )

    def _status(self, data: JSON) -> JobStatus:
        word = find(data, self.jobs.fields.status)
        for state, words in self.jobs.words.items():
            if word in words:
                return state
        known = ", ".join(word for words in self.jobs.words.values() for word in words)
        shown = repr(word[:40]) if isinstance(word, str) else shape(word)
        raise ContractError(f"unknown job status {shown} at `{self.jobs.fields.status}`; the profile knows: {known}")

    def _progress(self, data: JSON) -> float | None:
        value = _number(data, self.jobs.fields.progress)
        if value is None:
            return None
        percent = value * 100 if self.jobs.progress == "fraction" else value
        if not 0 <= percent <= 100:
            raise ContractError(f"progress at `{self.jobs.fields.progress}` is outside 0-100 per cent")
        return percent


def _requests(profile: Profile) -> Iterable[tuple[tuple[str, ...], Request, frozenset[str]]]:
    """Each request with its place and the names it may use."""
    carried = frozenset(
        name for step in profile.auth.steps.values() for answer in step.answers for name in answer.carry
    )
    for name, step in profile.auth.steps.items():
        yield ("auth", "steps", name, "request"), step.request, LOGIN_VALUES | carried
    if profile.auth.refresh:
        yield ("auth", "refresh", "request"), profile.auth.refresh.request, frozenset({"refresh_token", "access_token"})
    jobs = profile.jobs
    yield ("jobs", "trigger", "request"), jobs.trigger.request, TRIGGER_VALUES
    yield ("jobs", "status", "request"), jobs.status.request, frozenset({"job_id", "sync_type"})
    if jobs.running:
        yield ("jobs", "running", "request"), jobs.running.request, frozenset({"sync_type"})
    if jobs.recent:
        yield ("jobs", "recent", "request"), jobs.recent.request, frozenset({"limit"})
    if jobs.cancel:
        yield ("jobs", "cancel", "request"), jobs.cancel.request, frozenset({"job_id", "sync_type"})


def load(name: str) -> Profile:
    """The built-in profile `name`, or the one in the file it names. Raises UsageError with file, line and key."""
    return parse(document.read(locate(name)))


def locate(name: str) -> Path:
    """The file of a profile. Raises UsageError naming the built-in ones."""
    built_in = BUILT_IN / f"{name}.yaml"
    if "/" not in name and built_in.is_file():
        return built_in
    path = Path(name)
    if path.is_file():
        return path
    raise UsageError(f"profile `{name}`: neither a built-in profile ({', '.join(built_ins())}) nor a file")


def built_ins() -> list[str]:
    """The names of the profiles that come with the runner."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def parse(doc: document.Document) -> Profile:
    """The profile in a document. Raises UsageError, one line a fault, with file, line and key."""
    try:
        return Profile.model_validate(doc.data)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        lines = (f"{doc.where(fault['loc'])}: {'.'.join(map(str, fault['loc']))}: {_said(fault)}" for fault in faults)
        raise UsageError("\n".join(lines)) from None


def _said(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "no such key in a profile"
    return str(fault["msg"]).removeprefix("Value error, ")


@cache
def _compiled(expression: str) -> Any:
    import jmespath

    return jmespath.compile(expression)


def find(data: JSON, expression: str | None) -> JSON:
    """What the JMESPath `expression` finds in `data`; None for no expression. Raises ContractError on wrong types."""
    if expression is None:
        return None
    from jmespath.exceptions import JMESPathError

    try:
        return _compiled(expression).search(data)
    except (JMESPathError, RecursionError):
        raise ContractError(f"`{expression}` does not fit the answer (shape: {shape(data)})") from None


def text(data: JSON, expression: str | None) -> str | None:
    """A text or a whole number (as text) at `expression`; None where there is none. Raises ContractError else."""
    value = find(data, expression)
    if isinstance(value, str):  # half characters, which JSON allows and no file, header or database takes, written out
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ContractError(f"`{expression}` should be text, is {shape(value)}")


def _number(data: JSON, expression: str | None) -> float | None:
    value = find(data, expression)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        raise ContractError(f"`{expression}` should be a number, is {shape(value)}")
    return float(value)


def _count(data: JSON, expression: str | None) -> int | None:
    value = _number(data, expression)
    if value is None:
        return None
    if value < 0 or value != int(value):
        raise ContractError(f"`{expression}` should be a count (0, 1, 2, ...)")
    return int(value)


def seconds(data: JSON, expression: str | None) -> float | None:
    """A lifetime in seconds at `expression`. Raises ContractError when it is negative or no number."""
    value = _number(data, expression)
    if value is not None and value < 0:
        raise ContractError(f"`{expression}` should be a lifetime in seconds, is negative")
    return value


def shape(data: JSON, depth: int = 2) -> str:
    """The kinds and keys of an answer without its values: enough to mend a profile, and no secret in it."""
    if isinstance(data, dict):
        if depth == 0:
            return "object"
        inner = ", ".join(f"{str(key)[:30]}: {shape(value, depth - 1)}" for key, value in list(data.items())[:12])
        return "{" + inner + (", ..." if len(data) > 12 else "") + "}"
    if isinstance(data, list):
        return f"[{shape(data[0], depth - 1) if data and depth else ''}] of {len(data)}"
    names = {str: "text", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(data), type(data).__name__)
