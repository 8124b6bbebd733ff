"""What a job leaves beside its status, as a profile spells it: its log, its results, its files. Data only."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from runner.profile.parts import Expression, Part, Request, Sources, Status

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
Carried = dict[Name, Expression]
ResultType = Literal["string", "integer", "number", "boolean", "object", "array"]


class LogCursor(Part):
    """Where the next part of a log begins, sent as `${cursor}`: counted here (`count`), or told by the response (`next`)."""

    start: str | int | None = Field(default=None, description="Its value before the first part; null: absent.")
    count: Literal["bytes", "lines", "items", "parts"] | None = Field(
        default=None, description="The cursor is `start` and the number of these that were read."
    )
    next: Sources | None = Field(default=None, description="Where the response tells the next cursor; absent: the end.")
    more: Sources | None = Field(default=None, description="False, or `false` as text: there is no more at present.")

    @model_validator(mode="after")
    def _one_way(self) -> "LogCursor":
        if (self.count is None) == (self.next is None):
            raise ValueError("give `count` or `next`")
        if self.count is not None and not isinstance(self.start, int):
            raise ValueError("`count` goes on from a number; give `start: 0` (or 1)")
        return self


class LogSections(Part):
    """The log is in several sections, such as one for each task, which are listed first; the last one is shown last."""

    request: Request
    accepted: Status = (200,)
    list_: Expression = Field(default="@", alias="list", description="Where the list of sections stands.")
    carry: Carried = Field(min_length=1, description="Values of one section (JMESPath), for the log's request.")
    title: str = Field(default="", description="A line before each section, with the values that it carries.")


class Logs(Part):
    """How a job's log is read: whole, or from a cursor on; as text, as JSON, or as a JSON object in each line."""

    request: Request
    accepted: Status = (200, 206)
    missing: Status = Field(default=(404,), description="Responses that mean: there is no log, or none yet.")
    form: Literal["text", "json", "lines"] = Field(
        default="text",
        description="text: the body itself; json: `text` in the body; lines: `text` in each line's JSON.",
    )
    nested: Expression | None = Field(
        default=None, description="Where the body holds JSON as a text; `text` is then about what that says."
    )
    text: Expression | None = Field(
        default=None, description="Where the text stands in JSON: a text, or a list of lines (JMESPath)."
    )
    cursor: LogCursor | None = None
    sections: LogSections | None = None

    @model_validator(mode="after")
    def _where(self) -> "Logs":
        if (self.form == "text") != (self.text is None):
            raise ValueError("give `text`, the place of the text, with `form: json` and `form: lines`, and only there")
        if self.nested is not None and self.form != "json":
            raise ValueError("`nested` goes with `form: json`")
        if self.cursor is not None and self.cursor.count == "items" and self.form == "text":
            raise ValueError("`count: items` goes with `form: json` or `lines`; count bytes or lines")
        return self


def _placed(value: Any) -> Any:
    """`run.rows` as `{at: run.rows}`."""
    return {"at": value} if isinstance(value, str) else value


class Result(Part):
    """One named value that a job gives."""

    at: Sources = Field(description="Where it stands.")
    type: ResultType = Field(default="string", description="What it must be; else it is left out with a warning.")


class Results(Part):
    """Named values of a job that ended: in the last response to the status request, or in one of its own."""

    request: Request | None = Field(default=None, description="A request of its own; absent: the last status.")
    accepted: Status = (200,)
    values: dict[Name, Annotated[Result, BeforeValidator(_placed, json_schema_input_type=Expression | Result)]] = Field(
        min_length=1, max_length=64
    )


class ArtifactListing(Part):
    """How the files of a job are listed. The expressions are about one entry of the list."""

    request: Request
    accepted: Status = (200,)
    missing: Status = Field(default=(404,), description="Responses that mean: there are no files.")
    list_: Expression = Field(default="@", alias="list", description="Where the list of files stands.")
    name: Expression = Field(default="@", description="The file's path below the job's directory.")
    size: Expression | None = Field(default=None, description="Its size in bytes.")
    sha256: Expression | None = Field(default=None, description="Its SHA-256 in hex.")
    carry: Carried = Field(default={})


class Artifacts(Part):
    """Files behind a job. `${file}` is the path of one; its slashes stay slashes."""

    request: Request
    accepted: Status = (200,)
    listing: ArtifactListing | None = None
    names: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="The paths, where there is no listing."
    )

    @model_validator(mode="after")
    def _which(self) -> "Artifacts":
        if (self.listing is None) == (not self.names):
            raise ValueError("give `listing` or `names`")
        return self
