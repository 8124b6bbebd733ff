"""The listing of jobs and of its further pages: part of `models`."""

from typing import Literal

from pydantic import Field

from runner.profile.parts import Expression, Part, Request, Rules, Sources, statuses


class Pages(Part):
    """How the further pages of a listing are requested."""

    by: Literal["offset", "page", "cursor", "url", "link"] = Field(
        description="`offset`, `page`, `cursor`: the request uses ${offset} (entries so far), ${page} (the number) or "
        "${cursor?}; `url`: the response has the next page's address; `link`: its Link header has it (rel=next)."
    )
    at: Sources | None = Field(
        default=None, description="The place of the cursor or the address; the last page has none."
    )
    first: int = Field(default=1, ge=0, le=1, description="The number of the first page.")
    most: int = Field(default=10, ge=2, le=100, description="Maximum number of pages.")

    @property
    def told(self) -> bool:
        """Whether each response says where the next page is: then an empty page is not the last."""
        return self.by in ("cursor", "url", "link")


class Listing(Part):
    """How jobs are listed, newest first."""

    request: Request
    accepted: Rules = statuses(200)
    jobs: Expression = "@"
    pages: Pages | None = Field(default=None, description="Absent: the first response is complete enough.")
