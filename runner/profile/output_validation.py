"""Validates a profile's logs, results and files as a whole. Pure."""

from collections.abc import Iterator
from typing import Any

from runner.profile.models import Jobs
from runner.profile.output_models import ArtifactListing, Artifacts, Logs, LogSections, Results
from runner.profile.template_checks import Fault, known_sources, named_faults, request_faults, text_faults
from runner.yaml_source import Place

NAMES = frozenset({"cursor", "file"})


def faults(jobs: Jobs, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Yields the faults. Requests may use the `known` values, and those of `sometimes` with `?`."""
    if jobs.logs:
        yield from _logs(("jobs", "logs"), jobs.logs, known, sometimes)
    if jobs.results:
        yield from _results(("jobs", "results"), jobs.results, known, sometimes)
    if jobs.artifacts:
        yield from _artifacts(("jobs", "artifacts"), jobs.artifacts, known, sometimes)
    for key, part in (("logs", jobs.logs), ("results", jobs.results), ("artifacts", jobs.artifacts)):
        if part:
            own = known | frozenset(part.sections.carry if isinstance(part, Logs) and part.sections else ())
            yield from _expressions(("jobs", key), part.model_dump(by_alias=True, exclude_none=True), own, sometimes)


def _logs(place: Place, logs: Logs, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    carried: frozenset[str] = frozenset()
    if logs.sections:
        carried = frozenset(logs.sections.carry)
        yield from _listed((*place, "sections"), logs.sections, known, sometimes)
        yield from text_faults((*place, "sections", "title"), logs.sections.title, carried)
    cursor = frozenset({"cursor"}) if logs.cursor else frozenset()
    always = cursor if logs.cursor and logs.cursor.start is not None else frozenset()
    yield from request_faults(
        (*place, "request"), logs.request, known | carried | always, sometimes | (cursor - always)
    )
    if logs.cursor:
        for key, sources in (("next", logs.cursor.next), ("more", logs.cursor.more)):
            yield from known_sources((*place, "cursor", key), sources or (), frozenset())


def _results(place: Place, results: Results, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    if results.request:
        yield from request_faults((*place, "request"), results.request, known, sometimes)
    for name, result in results.values.items():
        yield from known_sources((*place, "values", name), result.at, known)


def _artifacts(place: Place, artifacts: Artifacts, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    carried: frozenset[str] = frozenset()
    if artifacts.listing:
        carried = frozenset(artifacts.listing.carry)
        yield from _listed((*place, "listing"), artifacts.listing, known, sometimes)
    yield from request_faults((*place, "request"), artifacts.request, known | carried | {"file"}, sometimes)


def _listed(
    place: Place, part: LogSections | ArtifactListing, known: frozenset[str], sometimes: frozenset[str]
) -> Iterator[Fault]:
    """Checks a list whose entries carry values into the request for each."""
    yield from request_faults((*place, "request"), part.request, known, sometimes)
    for name in part.carry:
        if name in known | sometimes | NAMES:
            yield Fault((*place, "carry", name), f"`{name}` already has a meaning; carry it under another name")


def _expressions(place: Place, part: Any, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Yields faults of the values that expressions name."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if key in ("request", "title"):  # templates
            continue
        if isinstance(value, dict | list | tuple):
            yield from _expressions((*place, key), value, known, sometimes)
        elif isinstance(value, str) and "${" in value:
            yield from named_faults((*place, key), value, known, sometimes)
