"""Drafts a profile from an API's description or from recorded exchanges. Pure, except for reading the file."""

from pathlib import Path

from runner.errors import UsageError
from runner.profile.drafts import har, openapi
from runner.profile.drafts.exchanges import MARK, Api
from runner.profile.drafts.reading import read
from runner.profile.drafts.writing import written

__all__ = ["MARK", "draft"]


def draft(path: Path) -> str:
    """Returns the draft as YAML, with unknown parts marked. Raises UsageError for a file that is neither."""
    data = read(path)
    try:
        api: Api = har.api(data, str(path)) if "log" in data else openapi.api(data, str(path))
        return written(api)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError):  # parts of other types
        raise UsageError(
            f"{path}: not as OpenAPI or HAR 1.2 define it; check it with a validator, or give the part about the jobs"
        ) from None
