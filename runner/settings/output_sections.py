"""The sections of the settings about what jobs leave: logs and files."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runner.settings.values import Duration, Words

_SIZE = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_size(value: Any) -> Any:
    """Bytes from `16MiB`, `500KiB`, `2GiB` or a number. Raises ValueError with the forms."""
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
    """The logs of the jobs themselves, where the profile says how they are read. They decide nothing."""

    show: Literal["none", "failed", "all", "follow"] = Field(
        default="failed",
        description="failed: the last 50 lines of a job that failed; all: of every job; follow: every line, while it runs.",
    )
    dir: Path | None = Field(
        default=None, description="Keep the logs that are read in this directory, whole, one file for each job."
    )
    max_bytes: Size = Field(default=16 << 20, description="Size of one such file at most, such as 16MiB.")
    timeout: Duration = Field(
        default=20.0, gt=0, description="How long a job's log may be read after its end, within the deadlines."
    )


class ArtifactsSettings(_Section):
    """The files that a job leaves, where the profile says how they are downloaded."""

    dir: Path | None = Field(
        default=None, description="Download them to DIR/ACCOUNT/SYNC/; not given: nothing is downloaded."
    )
    only: Words[str] = Field(default=("*",), description="Only files whose path fits one of these patterns.")
    max_bytes: Size = Field(default=1 << 30, description="Size of one file at most.")
    max_total_bytes: Size = Field(default=4 << 30, description="Size of all files of one job at most.")
    max_files: int = Field(default=100, ge=1, le=10_000, description="Files of one job at most.")
    timeout: Duration = Field(
        default=600.0, gt=0, description="How long the files of a job may take, within the deadlines."
    )
