"""The profile: login, trigger and status of one API, as validated data. Its JSON Schema comes from here.

The login is in `auth_models.py`, a job's outputs in `output_models.py`, the common parts in `parts.py`.
`validation.py` checks consistency between parts; `extraction.py` reads responses.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from runner.models import JobStatus
from runner.profile.auth_models import Answer, Auth, Refresh, SecretName, SessionFields, Step
from runner.profile.listings import Listing
from runner.profile.output_models import Artifacts, Logs, Results
from runner.profile.parts import (
    BodyRules,
    Carry,
    Expression,
    Part,
    Request,
    Rules,
    RulesOrNone,
    Source,
    Sources,
    Status,
    listed,
    statuses,
)

__all__ = [
    "Answer", "Auth", "Carry", "Expression", "Login", "Parameter", "Profile", "Refresh", "Request", "SecretName",
    "SessionFields", "Source", "Sources", "Status", "Step",
]  # fmt: skip


def _types(value: Any) -> Any:
    """Parses `[activities]` as `{activities: activities}`."""
    return {one: one for one in value} if isinstance(value, list) and all(isinstance(o, str) for o in value) else value


Word = bool | str | int
Words = Annotated[
    tuple[Word, ...], Field(strict=False), BeforeValidator(listed, json_schema_input_type=Word | list[Word])
]
_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "path": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
}  # fmt: skip


class Parameter(Part):
    """A parameter of a sync, used as `${params.NAME}`."""

    type: Literal["string", "path", "integer", "number", "boolean", "object", "array"] = Field(
        description="A path is a text whose slashes stay unescaped in the path of a request."
    )
    description: str = ""
    required: bool = False
    default: Any = None
    sync_types: Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(listed)] = Field(
        default=(), description="Only for these sync types; empty: for all."
    )

    def fits(self, value: Any) -> bool:
        """Whether `value` is of the parameter's type; JSON's `true` is not an integer."""
        return isinstance(value, _KINDS[self.type]) and not (isinstance(value, bool) and self.type != "boolean")


Parameters = dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], Parameter]


class JobFields(Part):
    """The places of a job's values in the job's own object (JMESPath)."""

    job_id: Expression | Source | None = Field(
        default="job_id",
        description="Where an address names the job: `{body: url, segment: -1}`, or with `query` or `pattern`.",
    )
    status: Expression = "status"
    sync_type: Expression | None = "sync_type"
    user_id: Expression | None = "user_id"
    progress: Expression | None = "progress"
    start_time: Expression | None = "start_time"
    end_time: Expression | None = "end_time"
    error_message: Expression | None = "error_message"
    total_items: Expression | None = "total_items"
    processed_items: Expression | None = "processed_items"


class Lookup(Part):
    """A request before the first request about a sync, such as for the id of a name."""

    request: Request
    accepted: Rules = statuses(200)
    carry: Carry = Field(min_length=1, description="Values for all later requests about the sync.")


class Trigger(Part):
    """How a sync is triggered, and the meaning of the responses."""

    request: Request
    accepted: Rules = statuses(200, 201, 202)
    job: Expression = Field(default="@", description="The place of the job; a job without a status counts as pending.")
    job_id: Sources | None = Field(
        default=None, description="The place of its id, if not in the job; `{value: idempotency_key}`: we name it."
    )
    carry: Carry = Field(default={}, description="Values for the status and cancel requests.")
    conflict: RulesOrNone = Field(
        default_factory=lambda: statuses(409),
        description="Responses that mean: such a job is already running. Empty: the API never says so.",
    )
    conflict_job_id: Sources | None = None
    idempotent: bool = Field(
        default=False, description="A repeat with the same ${idempotency_key} returns the first response."
    )
    repeat_refused: bool = Field(
        default=True,
        description="Where we name the job, a second trigger with its name is refused; false: it runs twice.",
    )

    @property
    def names_job(self) -> bool:
        """Whether the job's id is our own key, so that a job can be looked up whose trigger had no response."""
        return any(source.value == "idempotency_key" for source in self.job_id or ())

    @property
    def names_once(self) -> bool:
        """Whether, in addition, a second trigger with that name starts nothing."""
        return self.names_job and self.repeat_refused


class StatusRead(Part):
    """How one job is looked up."""

    request: Request
    accepted: Rules = statuses(200)
    job: Expression = "@"
    missing: Rules = Field(
        default_factory=lambda: statuses(404),
        description="Responses in JSON, or of another type that the rule names, that mean: there is no such job.",
    )
    missing_is_gone: bool = Field(
        default=True, description="false: the API may not know a running job; it is polled on, then unknown."
    )
    unsure: RulesOrNone = Field(
        default=(),
        description="Responses that the API sends both for existing jobs and for ids that never existed.",
    )


class Cancel(Part):
    """How a job is cancelled."""

    lookups: Annotated[tuple[Lookup, ...], Field(strict=False)] = Field(
        default=(), description="Requests before it, whose values the request uses."
    )
    request: Request
    accepted: Rules = statuses(200, 202, 204)
    job: Expression | None = Field(default="@", description="The place of the job in the response; null: it has none.")


class Single(Part):
    """The API runs one job at a time and gives it no id: its status is the newest job's."""

    idle: Words = Field(default=("idle",), min_length=1, description="Status words that mean: there is no job.")


class Jobs(Part):
    """Everything about jobs."""

    sync_types: Annotated[
        dict[str, Word], BeforeValidator(_types, json_schema_input_type=list[str] | dict[str, Word])
    ] = Field(default={}, description="The types of this API, or a map from our words to the API's; empty: any word.")
    single: Single | None = None
    lookups: Annotated[tuple[Lookup, ...], Field(strict=False)] = ()
    trigger: Trigger
    status: StatusRead
    running: Listing | None = None
    by_key: Listing | None = Field(
        default=None,
        description="The jobs with our ${idempotency_key}, such as in a tag: all belong to our trigger, others do not.",
    )
    recent: Listing | None = None
    cancel: Cancel | None = None
    logs: Logs | None = None
    results: Results | None = None
    artifacts: Artifacts | None = None
    fields: JobFields = Field(default_factory=JobFields)
    words: dict[Annotated[JobStatus, Field(strict=False)], Words] = Field(
        default={state: (state.value,) for state in JobStatus}
    )
    progress: Literal["percent", "fraction", "items"] = "percent"

    @property
    def carried(self) -> frozenset[str]:
        """Every name that a lookup carries."""
        return frozenset(name for lookup in self.lookups for name in lookup.carry)


class RateLimit(Part):
    """How the API reports too many requests."""

    status: Status = (429,)
    when: Expression | None = Field(default=None, description="Only if this JMESPath expression is true of the body.")
    retry_after: str = Field(
        default="Retry-After", description="The header with the seconds to wait, an HTTP date, or Unix seconds."
    )


class Errors(Part):
    """How the API reports errors."""

    message: Sources = Field(
        default_factory=lambda: (Source(body="error || message || detail"),),
        description="Its own words, for messages; without them a body of plain text is shown.",
    )
    when: BodyRules = Field(default=(), description="A response about jobs that is an error in spite of its status.")
    settings: BodyRules = Field(
        default=(), description="Of such errors, and of refusals, those that the settings cause."
    )
    permission: BodyRules = Field(
        default=(), description="Of such errors, and of refusals, those that a missing right causes."
    )
    rate_limit: RateLimit = Field(default_factory=RateLimit)
    starting: RulesOrNone = Field(
        default=(),
        description="Responses that mean: the server is starting and has processed nothing. The request counts as never sent.",
    )


class Profile(Part):
    """The description of one API."""

    version: Literal[1] = Field(description="The version of this format.")
    description: str
    parameters: Parameters = Field(default={})
    login: str | None = Field(
        default=None, description="The usual login of this API, built-in or a file, instead of `auth`."
    )
    auth: Auth
    jobs: Jobs
    errors: Errors = Field(default_factory=Errors)


class Login(Part):
    """A separate login for any profile: the setting `login` chooses it."""

    version: Literal[1] = Field(description="The version of this format.")
    description: str
    parameters: Parameters = Field(default={})
    auth: Auth
