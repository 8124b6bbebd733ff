"""What a profile is: one API's spelling of login, trigger and status, as validated data. Its JSON Schema comes from here.

Checks that need more than one part of a profile stand in `checking.py`; what answers mean is read in `reading.py`.
"""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from runner.models import JobStatus
from runner.profile import template
from runner.profile.expressions import checked

SecretName = Literal["username", "password", "totp_seed", "refresh_token", "api_token", "client_id", "client_secret"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


def _sources(value: Any) -> Any:
    """`user.id`, `{header: X-Token}`, or a list of such: the first that is found counts."""
    listed = value if isinstance(value, list | tuple) else [value]
    return [{"body": one} if isinstance(one, str) else one for one in listed]


def _types(value: Any) -> Any:
    """`[activities]` as `{activities: activities}`."""
    return {one: one for one in value} if isinstance(value, list) and all(isinstance(o, str) for o in value) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Source(_Part):
    """Where one value stands: exactly one of `body`, `header`, `cookie` and `value`."""

    body: Annotated[str, AfterValidator(checked)] | None = Field(default=None, description="JMESPath into the body.")
    header: str | None = Field(default=None, min_length=1, description="A header of the answer.")
    cookie: str | None = Field(default=None, min_length=1, description="A cookie that the answer sets.")
    value: str | None = Field(default=None, min_length=1, description="A value known by name, such as one carried.")
    segment: int | None = Field(
        default=None, description="Only this part of the text, cut at each `/`; -1 is the last (for Location headers)."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        if sum(place is not None for place in (self.body, self.header, self.cookie, self.value)) != 1:
            raise ValueError("give a JMESPath expression, or one of `body`, `header`, `cookie` and `value`")
        return self

    def __str__(self) -> str:
        if self.body is not None:
            return self.body
        kinds = {"header": self.header, "cookie": self.cookie, "value": self.value}
        return next(f"{kind} {name}" for kind, name in kinds.items() if name is not None)


Expression = Annotated[str, AfterValidator(checked)]
Sources = Annotated[
    tuple[Source, ...],
    Field(min_length=1, strict=False),
    BeforeValidator(_sources, json_schema_input_type=Expression | Source | list[Expression | Source]),
]
Status = Annotated[
    tuple[Annotated[int, Field(ge=100, le=599)], ...],
    Field(min_length=1, strict=False),
    BeforeValidator(_listed, json_schema_input_type=int | list[int]),
]
Word = str | int
Words = Annotated[
    tuple[Word, ...], Field(strict=False), BeforeValidator(_listed, json_schema_input_type=Word | list[Word])
]
Carry = dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], Sources]


class Request(_Part):
    """One request as a template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern=r"^/", description="Joined to base_url; placeholders are URL-quoted.")
    query: dict[str, Any] = Field(default={}, description="A list gives its key once for each value.")
    headers: dict[str, str] = {}
    json_: Any = Field(default=None, alias="json", description="The body, sent as JSON.")
    form: dict[str, Any] | None = Field(default=None, description="The body, sent as a form.")

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
        description="done, refused, locked, unsupported, later (refused for now: sent once more, after 2 s), failing (the "
        "server is ill: not sent again), or the name of the next step, which may want a one-time code."
    )
    cause: Literal["password", "code", "credentials", "client", "account", "token"] | None = Field(
        default=None,
        description="What `refused` is about; if not given, what the request sends: a password that no step before has "
        "proven, a code, or (`credentials`) both.",
    )
    carry: Carry = Field(default={}, description="Values for later steps, the session, its headers and its refresh.")


class Step(_Part):
    """One request of the login and what its answers mean."""

    request: Request
    answers: Annotated[tuple[Answer, ...], Field(strict=False)] = Field(min_length=1)

    @cached_property
    def sends(self) -> frozenset[str]:
        """The names of the values that the request holds."""
        return frozenset(name for name, _optional, _place in template.names(vars(self.request)))

    @property
    def wants_code(self) -> bool:
        """Whether the request holds a one-time code."""
        return "code" in self.sends

    @property
    def sends_password(self) -> bool:
        """Whether the request holds the password."""
        return not self.sends.isdisjoint({"password", "basic"})


class SessionFields(_Part):
    """Where the session's values stand in the last answer."""

    access_token: Sources
    refresh_token: Sources | None = None
    expires_in: Sources | None = Field(default=None, description="Lifetime in seconds.")
    expires_at: Sources | None = Field(default=None, description="End as Unix seconds or RFC 3339, instead.")
    token_type: Sources | None = None
    scope: Sources | None = None
    token_id: Sources | None = Field(default=None, description="The API's name for the token.")
    session_id: Sources | None = Field(default=None, description="The API's name for the session.")
    user_id: Sources | None = Field(default=None, description="The user's id.")
    mfa_enabled: Sources | None = Field(
        default=None, description="Whether the login needs a second factor: true or false."
    )


class Refresh(_Part):
    """How a session is renewed without a login."""

    request: Request
    accepted: Status = (200,)
    session: SessionFields | None = Field(default=None, description="Where the values stand, if not as after a login.")


class Auth(_Part):
    """Login, refresh, and how the token goes with each request. Without `steps` and `refresh`: only `headers`."""

    secrets: Annotated[tuple[SecretName, ...], Field(strict=False)] = Field(
        default=("username", "password", "totp_seed", "refresh_token"),
        description="What must be mounted; totp_seed and refresh_token only if the API asks for them.",
    )
    steps: dict[str, Step] = Field(default={}, description="The first is where a login begins.")
    session: SessionFields | None = None
    refresh: Refresh | None = None
    headers: dict[str, str] = Field(
        default={"Authorization": "Bearer ${access_token}"}, description="What goes with each request."
    )
    expired: Status = Field(default=(401,), description="Answers that mean: the token is no longer good.")
    message: Expression = Field(
        default="error_description || error || message || detail",
        description="The API's own words about a refused login.",
    )

    @property
    def static(self) -> bool:
        """Whether there is no login: the secrets themselves go with each request."""
        return not self.steps and self.refresh is None

    @property
    def carried(self) -> frozenset[str]:
        """Every name that an answer of the login carries."""
        return frozenset(name for step in self.steps.values() for answer in step.answers for name in answer.carry)

    @property
    def kept(self) -> frozenset[str]:
        """Those that go on with the session: its headers or its refresh want them."""
        wanted = [self.headers, vars(self.refresh.request) if self.refresh else {}]
        return self.carried & {name for name, _optional, _place in template.names(wanted)}


_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
}  # fmt: skip


class Parameter(_Part):
    """One value that a sync may be given, used as `${params.NAME}`."""

    type: Literal["string", "integer", "number", "boolean", "object", "array"]
    description: str = ""
    required: bool = False
    default: Any = None
    sync_types: Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_listed)] = Field(
        default=(), description="Only for these sync types; empty: for all."
    )

    def fits(self, value: Any) -> bool:
        """Whether `value` is of the parameter's type; JSON's `true` is no integer."""
        return isinstance(value, _KINDS[self.type]) and not (isinstance(value, bool) and self.type != "boolean")


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


class Lookup(_Part):
    """A question before the first request about a sync, such as for the id behind a name."""

    request: Request
    accepted: Status = (200,)
    carry: Carry = Field(min_length=1, description="Values for all later requests about the sync.")


class Trigger(_Part):
    """How a sync is started, and what the answers mean."""

    request: Request
    accepted: Status = (200, 201, 202)
    job: Expression = Field(default="@", description="Where the job stands; one without a status counts as pending.")
    job_id: Sources | None = Field(
        default=None, description="Where its id stands, if not in the job; `{value: idempotency_key}`: we name it."
    )
    carry: Carry = Field(default={}, description="Values for the status and cancel requests.")
    conflict: Status = Field(default=(409,), description="Answers that mean: such a job is running already.")
    conflict_job_id: Expression | None = None
    idempotent: bool = Field(
        default=False, description="A repeat with the same ${idempotency_key} returns the first answer."
    )

    @property
    def names_job(self) -> bool:
        """Whether the job's id is our own key, so that a job can be looked up whose trigger had no answer."""
        return any(source.value == "idempotency_key" for source in self.job_id or ())


class Look(_Part):
    """How one job is looked up."""

    request: Request
    accepted: Status = (200,)
    job: Expression = "@"
    missing: Status = (404,)


class Listing(_Part):
    """How jobs are listed, newest first."""

    request: Request
    accepted: Status = (200,)
    jobs: Expression = "@"


class Cancel(_Part):
    """How a job is cancelled."""

    request: Request
    accepted: Status = (200, 202, 204)
    job: Expression | None = Field(default="@", description="Where the job stands in the answer; null: nowhere.")


class Single(_Part):
    """The API runs one job at a time and gives it no id: its status is the newest job's."""

    idle: Words = Field(default=("idle",), min_length=1, description="Status words that mean: there is no job.")


class Jobs(_Part):
    """Everything about jobs."""

    sync_types: Annotated[
        dict[str, Word], BeforeValidator(_types, json_schema_input_type=list[str] | dict[str, Word])
    ] = Field(
        default={}, description="The types this API knows, or a map from our words to the API's; empty: any word."
    )
    single: Single | None = None
    lookups: Annotated[tuple[Lookup, ...], Field(strict=False)] = ()
    trigger: Trigger
    status: Look
    running: Listing | None = None
    recent: Listing | None = None
    cancel: Cancel | None = None
    fields: JobFields = Field(default_factory=JobFields)
    words: dict[Annotated[JobStatus, Field(strict=False)], Words] = {state: (state.value,) for state in JobStatus}
    progress: Literal["percent", "fraction", "items"] = "percent"

    @property
    def carried(self) -> frozenset[str]:
        """Every name that a lookup carries."""
        return frozenset(name for lookup in self.lookups for name in lookup.carry)


class RateLimit(_Part):
    """How the API says that there were too many requests."""

    status: Status = (429,)
    when: Expression | None = Field(default=None, description="Only if this JMESPath expression is true of the body.")
    retry_after: str = Field(
        default="Retry-After", description="The header with the seconds to wait, an HTTP date, or Unix seconds."
    )


class Errors(_Part):
    """How the API tells of what went wrong."""

    message: Expression = Field(default="error || message || detail", description="Its own words, for messages.")
    when: Expression | None = Field(
        default=None, description="True of the body of an answer about jobs that is an error in spite of its status."
    )
    rate_limit: RateLimit = Field(default_factory=RateLimit)


class Profile(_Part):
    """One API's spelling."""

    version: Literal[1] = Field(description="The version of this format.")
    description: str
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], Parameter] = {}
    auth: Auth
    jobs: Jobs
    errors: Errors = Field(default_factory=Errors)
