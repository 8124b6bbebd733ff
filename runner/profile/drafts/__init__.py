"""Drafts a profile from an API's description or from recorded exchanges. Pure, except for reading the file."""

from pathlib import Path

from runner.profile.drafts import har, openapi
from runner.profile.drafts.exchanges import MARK, Api
from runner.profile.drafts.reading import read
from runner.profile.drafts.writing import written

__all__ = ["MARK", "draft"]


def draft(path: Path) -> str:
    """Returns the draft as YAML, with unknown parts marked. Raises UsageError for a file that is neither."""
    data = read(path)
    api: Api = har.api(data) if "log" in data else openapi.api(data, str(path))
    return written(api)
