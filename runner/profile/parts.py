"""The common parts of a profile: sources of values, rules for responses, requests."""
# Decision 0034.

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from runner.patterns import bounded
from runner.profile.expressions import checked


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


def _sources(value: Any) -> Any:
    """Parses `user.id`, `{header: X-Token}`, or a list of these: the first that is found counts."""
    given = value if isinstance(value, list | tuple) else [value]
    return [{"body": one} if isinstance(one, str) else one for one in given]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


Expression = Annotated[str, AfterValidator(checked)]
Pattern = Annotated[str, AfterValidator(bounded)]
PLACES = ("body", "header", "cookie", "html", "text", "cookie_expires", "value")


class Source(Part):
    """The place of one value: exactly one of `PLACES`; then its transformations.

    In that order: `query` or `segment` of an address, `jwt`, `pattern`, `unit`.
    """

    body: Expression | None = Field(default=None, description="JMESPath into the body.")
    header: str | None = Field(default=None, min_length=1, description="A header of the response.")
    cookie: str | None = Field(default=None, min_length=1, description="A cookie that the response sets.")
    html: str | None = Field(
        default=None,
        min_length=1,
        description="CSS selector into a page: the `value`, `content` or text of the first match.",
    )
    text: Pattern | None = Field(
        default=None,
        description="Regular expression, searched at the beginning of a body that is not JSON; its first group counts.",
    )
    cookie_expires: str | None = Field(
        default=None, min_length=1, description="When the cookie of this name ends, in Unix seconds (with `cookies`)."
    )
    value: str | None = Field(default=None, min_length=1, description="A named value, such as a carried one.")
    query: str | None = Field(
        default=None, min_length=1, description="This query parameter of an address (for Location)."
    )
    segment: int | None = Field(
        default=None,
        description="Only this part of the text, split at each `/`; -1 is the last (for Location headers).",
    )

    jwt: Expression | None = Field(default=None, description="JMESPath into the claims of a JWT, such as `exp`.")
    pattern: Pattern | None = Field(
        default=None,
        description="Regular expression; its first group counts, else the match. At most two open repeats.",
    )
    path: bool = Field(default=False, description="Its slashes stay unescaped in the path of a request.")
    unit: Literal["s", "ms"] = Field(default="s", description="The unit of a numeric time or lifetime.")

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        if sum(getattr(self, place) is not None for place in PLACES) != 1:
            raise ValueError(f"give a JMESPath expression, or one of {', '.join(f'`{place}`' for place in PLACES)}")
        return self

    @cached_property
    def transformed(self) -> bool:
        """Whether the value is transformed."""
        return any(part is not None for part in (self.segment, self.query, self.jwt, self.pattern))

    def __str__(self) -> str:
        if self.body is not None:
            return self.body
        return next(f"{place} {getattr(self, place)}" for place in PLACES if getattr(self, place) is not None)


Sources = Annotated[
    tuple[Source, ...],
    Field(min_length=1, strict=False),
    BeforeValidator(_sources, json_schema_input_type=Expression | Source | list[Expression | Source]),
]
Status = Annotated[
    tuple[Annotated[int, Field(ge=100, le=599)], ...],
    Field(min_length=1, strict=False),
    BeforeValidator(listed, json_schema_input_type=int | list[int]),
]
Carry = dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], Sources]


class Request(Part):
    """One request as a template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern=r"^/", description="Joined to the address; placeholders are URL-quoted.")
    at: str | None = Field(
        default=None, min_length=1, description="A named address of the setting `login`, instead of the login's own."
    )
    query: dict[str, Any] = Field(default={}, description="A list repeats its key for each value.")
    headers: dict[str, str] = {}
    json_: Any = Field(default=None, alias="json", description="The body, sent as JSON.")
    form: dict[str, Any] | None = Field(default=None, description="The body, sent as a form.")

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        if self.json_ is not None and self.form is not None:
            raise ValueError("give `json` or `form`, not both")
        return self


class Rule(Part):
    """A rule that matches a response: by its status, and by its body, headers and content type where given."""

    status: Status | None = None
    when: Expression | None = Field(default=None, description="Only if this JMESPath expression is true of the body.")
    header: dict[str, Pattern] = Field(
        default={}, description="Only if each of these headers exists and matches its pattern."
    )
    type: str | None = Field(default=None, description="Only if the content type starts with this, such as text/html.")
    html: str | None = Field(
        default=None, min_length=1, description="Only if the page has an element that matches this CSS selector."
    )
    text: Pattern | None = Field(
        default=None, description="Only if the pattern matches at the beginning of a body that is not JSON."
    )

    @property
    def without_json(self) -> bool:
        """Whether it may match a response that is not JSON: it names something else than the body to identify the API's own."""
        return self.text is not None or self.html is not None or self.type is not None or bool(self.header)


def _ruled(value: Any) -> Any:
    """Returns a status, a rule, or a list of both, as a list of rules."""
    given = value if isinstance(value, list | tuple) else [value]
    if given and all(isinstance(one, int) for one in given):
        return [{"status": list(given)}]
    return [{"status": one} if isinstance(one, int) else one for one in given]


def _of_bodies(value: Any) -> Any:
    given = value if isinstance(value, list | tuple) else [value]
    return [{"when": one} if isinstance(one, str) else one for one in given]


Rules = Annotated[
    tuple[Rule, ...],
    Field(min_length=1, strict=False),
    BeforeValidator(_ruled, json_schema_input_type=int | Rule | list[int | Rule]),
]
RulesOrNone = Annotated[
    tuple[Rule, ...],
    Field(strict=False),
    BeforeValidator(_ruled, json_schema_input_type=int | Rule | list[int | Rule]),
]
BodyRules = Annotated[  # a plain text is an expression on the body
    tuple[Rule, ...],
    Field(strict=False),
    BeforeValidator(_of_bodies, json_schema_input_type=Expression | Rule | list[Expression | Rule]),
]


def statuses(*numbers: int) -> tuple[Rule, ...]:
    """Returns the rule that matches one of these statuses."""
    return (Rule(status=numbers),)
