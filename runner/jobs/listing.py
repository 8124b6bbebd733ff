"""Reads listings of jobs, as many pages as needed. Skips unreadable entries and reports them once."""
# Decisions 0101, 0196.

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from runner.errors import ContractError
from runner.external import ExternalText, raw
from runner.frozen import Frozen
from runner.http.messages import Response
from runner.models import JobStatus, SyncJob
from runner.profile import extraction, informing
from runner.profile.expressions import find, shape
from runner.profile.informing import Informing
from runner.profile.listings import Listing, Pages
from runner.profile.models import Jobs

LINK_PARTS = 50  # of a Link header that are examined


class Listed(Frozen):
    """The result of a listing. `unread` are entries without a readable id or status, with what is known of them.

    `partial` says why there may be further jobs; `skipped` what is unreadable.
    """

    jobs: tuple[SyncJob, ...] = ()
    unread: tuple[SyncJob, ...] = ()
    partial: str | None = None
    skipped: str | None = None

    def only(self, wanted: Callable[[SyncJob], bool]) -> "Listed":
        """Returns the jobs that are `wanted`."""
        return Listed(tuple(filter(wanted, self.jobs)), tuple(filter(wanted, self.unread)), self.partial, self.skipped)


class NextPage(Frozen):
    """How the next page is requested: by values for the request's template, or by its own target."""

    values: dict[str, Any] = field(default_factory=dict)
    target: str | None = None


Ask = Callable[[NextPage], Awaitable[tuple[NextPage, Response]]]


@dataclass(slots=True)
class Reading:
    """A listing while it is read. `enough` says whether the jobs so far suffice."""

    profile: Jobs
    listing: Listing
    enough: Callable[[list[SyncJob]], bool]
    values: Mapping[str, Any] = field(default_factory=dict)  # values for its expressions
    jobs: list[SyncJob] = field(default_factory=list)
    unread: list[SyncJob] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ids: set[ExternalText] = field(default_factory=set)
    asked: list[NextPage] = field(default_factory=list)  # pages after the first, where the API names them
    pages: int = 0
    entries: int = 0
    partial: str | None = None

    def take(self, answer: Response, page: NextPage) -> bool:
        """Reads one page; returns whether another page is needed."""
        items = _entries(answer.body, self.listing.jobs, self.values)
        self.pages += 1
        self.entries += len(items)
        found = {job.job_id: job for job in reversed([*map(self._read, items)]) if job is not None}
        new = [job for job_id, job in reversed(found.items()) if job_id not in self.ids]
        self.jobs += new
        self.ids |= found.keys()
        self.partial = None
        if answer.cut:
            self.partial = f"the response exceeds the size limit; its first {len(items)} entries count"
        if self.enough(self.jobs):
            return False
        if self.listing.pages is None and _as_many_as_asked(page, len(items)):
            self.partial = f"it has {len(items)} entries, as many as were requested, and there may be more"
        if self.listing.pages is None or self.listing.pages.told:
            return True
        if found and not new:  # the API does not support these pages, or new jobs moved them
            self.partial = f"page {self.pages} has no other jobs than those before it"
            return False
        return bool(items)

    def _read(self, item: Any) -> SyncJob | None:
        """Returns the job; None for an unreadable entry, which affects no other entry."""
        try:
            return extraction.job(self.profile, item)
        except ContractError as problem:
            self.problems.append(str(problem))
            if isinstance(item, dict):
                self.unread.append(_glimpse(self.profile, item))
            return None

    def next(self, answer: Response, page: NextPage, base_path: str) -> NextPage | None:
        """Returns how the page after `answer` is requested; None where there is none, or enough pages were read."""
        pages = self.listing.pages
        if pages is None or (answer.cut and pages.by != "offset"):
            return None
        found = _next(pages, answer, page, base_path, self)
        if found is not None and pages.told:
            if found in self.asked:
                self.partial = f"page {self.pages} names a page that was read before as the next one"
                return None
            self.asked.append(found)
        if found is not None and self.pages >= pages.most:
            self.partial = f"there are more than {self.pages} pages; the first {self.pages} were read"
            return None
        return found

    def listed(self) -> Listed:
        """Returns what was read."""
        skipped = None
        if self.problems:
            skipped = f"{len(self.problems)} of {self.entries} entries cannot be read, such as: {self.problems[0]}"
        return Listed(tuple(self.jobs), tuple(self.unread), self.partial, skipped)


async def read_pages(reading: Reading, base_path: str, ask: Ask) -> Listed:
    """Reads the jobs of the first page and of further ones. `ask` sends and returns the page, its target and the
    response.

    Raises what `ask` raises, or ContractError.
    """
    page: NextPage | None = _first(reading.listing.pages)
    while page is not None:
        asked, answer = await ask(page)
        page = reading.next(answer, asked, base_path) if reading.take(answer, asked) else None
    return reading.listed()


def _as_many_as_asked(page: NextPage, entries: int) -> bool:
    """Whether a number in the request's query is that of the entries: the limit of a listing without pages."""
    return str(entries) in dict(parse_qsl(urlsplit(page.target or "").query)).values()


def _entries(body: Any, expression: str, values: Mapping[str, Any]) -> list[Any]:
    found = find(body, expression, values)
    if not isinstance(found, list):
        raise ContractError(f"list: `{expression}` must be a list of jobs (shape: {shape(body)})")
    return found


def _glimpse(profile: Jobs, item: dict[str, Any]) -> SyncJob:
    """Returns what is known of an entry without a readable id or status. It counts as one that may run."""
    reader, fields = Informing(item), profile.fields
    return SyncJob(
        reader.convert("job_id", lambda: extraction.own_id(profile, item), informing.word) or ExternalText(""),
        JobStatus.PENDING,
        extraction.sync_type(profile, reader.read("sync_type", fields.sync_type, informing.word)),
        reader.read("user_id", fields.user_id, informing.word),
        start_time=reader.read("start_time", fields.start_time, informing.time),
    )


def _first(pages: Pages | None) -> NextPage:
    if pages is None:
        return NextPage()
    return NextPage({"offset": 0} if pages.by == "offset" else {"page": pages.first} if pages.by == "page" else {})


def _next(pages: Pages, answer: Response, page: NextPage, base_path: str, reading: Reading) -> NextPage | None:
    if pages.by == "offset":
        return NextPage({"offset": reading.entries})
    if pages.by == "page":
        return NextPage({"page": pages.first + reading.pages})
    found = (
        link_to_next(raw(answer.headers.get("link", ""))) if pages.by == "link" else extraction.text(answer, pages.at)
    )
    if not found:
        return None
    if pages.by == "cursor":
        return NextPage({"cursor": found})
    return NextPage(target=target_of(found, page.target or "/", base_path))


def target_of(url: str, current: str, base_path: str) -> str:
    """Returns path and query of an address from the API, below the base URL's own path.

    Its host is ignored: behind a gateway it often differs, and credentials go only to the base URL.
    Raises ContractError for an invalid address.
    """
    try:
        parts = urlsplit(urljoin(base_path.rstrip("/") + current, url))
    except ValueError:
        raise ContractError("list: the address of the next page is invalid; check `pages` in the profile") from None
    below = parts.path.removeprefix(base_path.rstrip("/"))
    path = below if below.startswith("/") else parts.path
    return "/" + path.lstrip("/") + (f"?{parts.query}" if parts.query else "")


def link_to_next(header: str) -> str | None:
    """Returns the address of `rel="next"` in a Link header (RFC 8288)."""
    for part in header.split("<")[1 : LINK_PARTS + 1]:
        address, _, parameters = part.partition(">")
        for parameter in parameters.split(";")[1:]:
            name, _, value = parameter.partition("=")
            words = value.strip().strip(",").strip().strip('"').lower().split()
            if name.strip().lower() == "rel" and "next" in words:
                return address.strip()
    return None
