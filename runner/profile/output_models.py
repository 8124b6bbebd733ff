"""A job's outputs in a profile: its log, its results, its files. Data only."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from runner.profile.parts import Expression, Part, Request, Sources, Status

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
Carried = dict[Name, Expression]
ResultType = Literal["string", "integer", "number", "boolean", "object", "array"]


class LogCursor(Part):
    """The start of the next part of a log, sent as `${cursor}`: counted here (`count`), or from the response (`next`)."""

    start: str | int | None = Field(default=None, description="Its value before the first part; null: absent.")
    count: Literal["bytes", "lines", "items", "parts"] | None = Field(
        default=None, description="The cursor is `start` plus the number of these that were read."
    )
    next: Sources | None = Field(
        default=None, description="The place of the next cursor in the response; absent: the end."
    )
    more: Sources | None = Field(default=None, description="False, or `false` as text: there is no more at present.")

    @model_validator(mode="after")
    def _one_way(self) -> "LogCursor":
        if (self.count is None) == (self.next is None):
            raise ValueError("give `count` or `next`")
        if self.count is not None and not isinstance(self.start, int):
            raise ValueError("`count` needs a number to start from; give `start: 0` (or 1)")
        return self


class LogSections(Part):
    """A log in several sections, such as one for each task, which are listed first; the last one is shown last."""

    request: Request
    accepted: Status = (200,)
    list_: Expression = Field(default="@", alias="list", description="The place of the list of sections.")
    carry: Carried = Field(min_length=1, description="Values of one section (JMESPath), for the log's request.")
    title: str = Field(default="", description="A line before each section, with its carried values.")


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
        default=None, description="The place of JSON within a text of the body; `text` then applies to that JSON."
    )
    text: Expression | None = Field(
        default=None, description="The place of the text in JSON: a text, or a list of lines (JMESPath)."
    )
    cursor: LogCursor | None = None
    sections: LogSections | None = None

    @model_validator(mode="after")
    def _where(self) -> "Logs":
        if (self.form == "text") != (self.text is None):
            raise ValueError(
                "`form: json` and `form: lines` need `text`, the place of the text; other forms do not allow it"
            )
        if self.nested is not None and self.form != "json":
            raise ValueError("`nested` needs `form: json`")
        if self.cursor is not None and self.cursor.count == "items" and self.form == "text":
            raise ValueError("`count: items` needs `form: json` or `lines`; count bytes or lines")
        return self


def _placed(value: Any) -> Any:
    """Parses `run.rows` as `{at: run.rows}`."""
    return {"at": value} if isinstance(value, str) else value


class Result(Part):
    """One named value that a job returns."""

    at: Sources = Field(description="Its place.")
    type: ResultType = Field(
        default="string", description="Its type; a value of another type is left out with a warning."
    )


class Results(Part):
    """Named values of an ended job: in the last response to the status request, or in a separate one."""

    request: Request | None = Field(default=None, description="A separate request; absent: the last status.")
    accepted: Status = (200,)
    values: dict[Name, Annotated[Result, BeforeValidator(_placed, json_schema_input_type=Expression | Result)]] = Field(
        min_length=1, max_length=64
    )


class ArtifactListing(Part):
    """How the files of a job are listed. The expressions apply to one entry of the list."""

    request: Request
    accepted: Status = (200,)
    missing: Status = Field(default=(404,), description="Responses that mean: there are no files.")
    list_: Expression = Field(default="@", alias="list", description="The place of the list of files.")
    name: Expression = Field(default="@", description="The file's path below the job's directory.")
    size: Expression | None = Field(default=None, description="Its size in bytes.")
    sha256: Expression | None = Field(default=None, description="Its SHA-256 in hex.")
    carry: Carried = Field(default={})


class Artifacts(Part):
    """Files of a job. `${file}` is the path of one; its slashes stay unescaped."""

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
