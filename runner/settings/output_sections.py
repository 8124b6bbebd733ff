"""The settings sections of what jobs produce: logs and files."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runner.settings.values import Duration, Words

_SIZE = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_size(value: Any) -> Any:
    """Parses bytes from `16MiB`, `500KiB`, `2GiB` or a number. Raises ValueError with the forms."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("give a size such as 500KiB, 16MiB or 2GiB")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=4096, le=1 << 40)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class LogsSettings(_Section):
    """The logs of the jobs, where the profile can read them. They affect no outcome."""

    show: Literal["none", "failed", "all", "follow"] = Field(
        default="failed",
        description="failed: the last 50 lines of a job that failed; all: of every job; follow: every line, while it runs.",
    )
    dir: Path | None = Field(default=None, description="Store the complete logs in this directory, one file per job.")
    max_bytes: Size = Field(default=16 << 20, description="Maximum size of one such file, such as 16MiB.")
    timeout: Duration = Field(
        default=20.0, gt=0, description="Longest time to read a job's log after its end, within the deadlines."
    )


class ArtifactsSettings(_Section):
    """The files that a job produces, where the profile can download them."""

    dir: Path | None = Field(
        default=None, description="Download them to DIR/ACCOUNT/SYNC/; not given: nothing is downloaded."
    )
    redirect_hosts: Words[str] = Field(
        default=(),
        description="Hosts to which the API may redirect the download of a file or log, such as *.s3.amazonaws.com; the "
        "API's token does not go there.",
    )
    only: Words[str] = Field(default=("*",), description="Only files whose path matches one of these patterns.")
    max_bytes: Size = Field(default=1 << 30, description="Maximum size of one file.")
    max_total_bytes: Size = Field(default=4 << 30, description="Maximum size of all files of one job.")
    max_files: int = Field(default=100, ge=1, le=10_000, description="Maximum number of files of one job.")
    timeout: Duration = Field(
        default=600.0, gt=0, description="Longest time to download a job's files, within the deadlines."
    )
