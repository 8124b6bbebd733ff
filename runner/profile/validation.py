"""Validates a profile as a whole: the values that templates name, the next steps of responses, words, parameters.

Pure: from a profile to faults with their places.
"""
# Decision 0030.

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from runner.models import JobStatus
from runner.profile import auth_validation, effects, output_validation, slips, template
from runner.profile.listings import Listing
from runner.profile.models import Cancel, Jobs, Login, Lookup, Parameter, Profile, Source, StatusRead
from runner.profile.template_checks import Fault, expression_faults, known_sources, parts, request_faults
from runner.yaml_source import Place

SYNC = frozenset({"sync_type", "account"})
DATES = frozenset({"start_date", "end_date"})  # which not every sync has
TRIGGER = SYNC | DATES | {"force_full", "idempotency_key"}


LEFT_OPEN = "__FILL_IN"  # `profiles new` marks unknown parts with this


def faults(profile: Profile | Login) -> Iterator[Fault]:
    """Yields every inconsistency."""
    yield from _left_open((), profile.model_dump(mode="json", by_alias=True, exclude_none=True))
    always = frozenset(f"params.{name}" for name, one in profile.parameters.items() if _always(one))
    sometimes = frozenset(f"params.{name}" for name in profile.parameters) - always
    yield from auth_validation.faults(profile.auth, always, sometimes)
    yield from _parameters(profile.parameters, () if isinstance(profile, Login) else profile.jobs.sync_types)
    yield from slips.faults(profile)
    yield from effects.faults(profile)
    if isinstance(profile, Profile):
        yield from _jobs(profile)
        yield from expression_faults(("errors",), profile.errors.model_dump(exclude_none=True), frozenset())


def _left_open(place: Place, part: Any) -> Iterator[Fault]:
    """Yields the open parts of a draft."""
    if isinstance(part, str) and LEFT_OPEN in part:
        yield Fault(place, f"`{part[:60]}` must be filled in: `profiles new` could not determine it")
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from _left_open((*place, key), inner)


def _parameters(parameters: Mapping[str, Parameter], types: Collection[str]) -> Iterator[Fault]:
    for name, parameter in parameters.items():
        place: Place = ("parameters", name)
        if parameter.default is not None and not parameter.fits(parameter.default):
            yield Fault((*place, "default"), f"must be of the parameter's type, {parameter.type}")
        if parameter.default is not None and parameter.required:
            yield Fault((*place, "required"), "a parameter with a default is never missing; remove one of the two")
        for word in parameter.sync_types:
            if types and word not in types:
                yield Fault((*place, "sync_types"), f"unknown sync type `{word[:40]}`; known: {', '.join(types)}")


def _jobs(profile: Profile) -> Iterator[Fault]:
    jobs = profile.jobs
    always = frozenset(f"params.{name}" for name, one in profile.parameters.items() if _always(one))
    sometimes = frozenset(f"params.{name}" for name in profile.parameters) - always
    known = SYNC | always | jobs.carried
    of_job = known | frozenset(jobs.trigger.carry) | (frozenset() if jobs.single else {"job_id"})
    yield from _lookups(("jobs",), jobs.lookups, SYNC | always, sometimes)
    yield from _trigger(jobs, TRIGGER | known, sometimes)
    yield from _part(("jobs", "status"), jobs.status, of_job, sometimes)
    yield from _carried_by_trigger(jobs)
    for key, listing, names, absent in (
        ("running", jobs.running, known, sometimes),
        ("by_key", jobs.by_key, known | {"idempotency_key"}, sometimes),
        ("recent", jobs.recent, frozenset({"limit", "account"}) | always, sometimes),
    ):
        if listing:
            yield from _listing(("jobs", key), listing, names, absent)
    if jobs.cancel:
        yield from _lookups(("jobs", "cancel"), jobs.cancel.lookups, of_job, sometimes)
        found = frozenset(name for lookup in jobs.cancel.lookups for name in lookup.carry)
        yield from _part(("jobs", "cancel"), jobs.cancel, of_job | found, sometimes)
    yield from output_validation.faults(jobs, of_job, sometimes)
    yield from expression_faults(("jobs", "fields"), jobs.fields.model_dump(exclude_none=True), frozenset())
    yield from _key(jobs)
    yield from _words(jobs)
    yield from _single(jobs)


def _lookups(
    place: Place, lookups: tuple[Lookup, ...], known: frozenset[str], sometimes: frozenset[str]
) -> Iterator[Fault]:
    """Checks the lookups: each may use what the earlier ones carry."""
    for index, lookup in enumerate(lookups):
        at: Place = (*place, "lookups", index)
        yield from _part(at, lookup, known, sometimes)
        yield from _carried(at, lookup.carry, TRIGGER | {"job_id", "limit"}, known)
        known |= frozenset(lookup.carry)


def _trigger(jobs: Jobs, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    place, trigger = ("jobs", "trigger"), jobs.trigger
    yield from request_faults((*place, "request"), trigger.request, known, sometimes)
    expressions = trigger.model_dump(exclude_none=True)
    yield from expression_faults(place, expressions, (known - DATES) | {"job_id"}, sometimes | DATES)
    yield from _carried(place, trigger.carry, TRIGGER | jobs.carried | {"job_id", "limit"}, known | {"job_id"})
    for key, sources in (("job_id", trigger.job_id), ("conflict_job_id", trigger.conflict_job_id)):
        yield from known_sources((*place, key), sources or (), known)


def _part(
    place: Place, part: Lookup | StatusRead | Cancel, known: frozenset[str], sometimes: frozenset[str]
) -> Iterator[Fault]:
    """Checks a request, and the expressions about its response."""
    yield from request_faults((*place, "request"), part.request, known, sometimes)
    dumped = part.model_dump(exclude={"lookups"}, exclude_none=True)
    yield from expression_faults(place, dumped, known, sometimes)


def _listing(place: Place, listing: Listing, known: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Checks the request with the values of its pages, and that the pages advance."""
    pages = listing.pages
    by = None if pages is None else pages.by
    counted = frozenset({by}) if by in ("offset", "page") else frozenset[str]()
    later = frozenset({by}) if by == "cursor" else frozenset[str]()
    yield from request_faults((*place, "request"), listing.request, known | counted, sometimes | later)
    yield from expression_faults(place, listing.model_dump(exclude_none=True), known, sometimes)
    if pages is None:
        return
    used = {name for name, _optional, _at in template.names(parts(listing.request))}
    if counted | later and by not in used:
        sign = "?" if later else ""
        yield Fault((*place, "pages", "by"), f"the request has no ${{{by}{sign}}}: each page would be the first")
    if (by in ("cursor", "url")) != (pages.at is not None):
        if pages.at is None:
            yield Fault((*place, "pages"), f"give the place of the next page's {by} in `at`")
        else:
            yield Fault((*place, "pages", "at"), f"is not allowed with `by: {by}`")
    if pages.at is not None:
        yield from known_sources((*place, "pages", "at"), pages.at, frozenset())
    if "first" in pages.model_fields_set and by != "page":
        yield Fault((*place, "pages", "first"), "is only for `by: page`")


def _always(parameter: Parameter) -> bool:
    """Whether every sync has a value for it."""
    return (parameter.required or parameter.default is not None) and not parameter.sync_types


def _carried(place: Place, carry: dict[str, Any], taken: frozenset[str], known: frozenset[str]) -> Iterator[Fault]:
    for name, sources in carry.items():
        if name in taken:
            yield Fault((*place, "carry", name), f"`{name}` already has a meaning; carry it under another name")
        yield from known_sources((*place, "carry", name), sources, known)


def _carried_by_trigger(jobs: Jobs) -> Iterator[Fault]:
    """Checks that values of a trigger's response are optional: a job that was found running has none."""
    if jobs.running is None and jobs.trigger.conflict_job_id is None:
        return
    for key, part in (("status", jobs.status), ("cancel", jobs.cancel)):
        for name, may_be_absent, at in template.names(parts(part.request)) if part else ():
            if name in jobs.trigger.carry and not may_be_absent:
                message = f"a job that is found running has no `{name}`, only its trigger has; write ${{{name}?}}"
                yield Fault(("jobs", key, "request", *at), message)


def _key(jobs: Jobs) -> Iterator[Fault]:
    uses = any(name == "idempotency_key" for name, _optional, _place in template.names(parts(jobs.trigger.request)))
    for claim, key in ((jobs.trigger.idempotent, "idempotent"), (jobs.trigger.names_job, "job_id")):
        if claim and not uses:
            yield Fault(("jobs", "trigger", key), "the trigger's request does not send ${idempotency_key}")


def _words(jobs: Jobs) -> Iterator[Fault]:
    owner: dict[tuple[type, str | int], str] = {}
    listed = [("idle", jobs.single.idle)] if jobs.single else []
    for state, words in [*listed, *((state.value, words) for state, words in jobs.words.items())]:
        for word in words:
            before = owner.setdefault((type(word), word), state)
            if before != state:
                yield Fault(("jobs", "words", state), f"the word `{word}` already means {before}")
    never_told = jobs.words.get(JobStatus.FAILED) == ()  # explicitly empty: the API never reports failures
    for state in (JobStatus.RUNNING, JobStatus.COMPLETED, *([] if never_told else [JobStatus.FAILED])):
        if not jobs.words.get(state):
            yield Fault(("jobs", "words"), f"no word for `{state.value}`: such a job would break the contract")


def _single(jobs: Jobs) -> Iterator[Fault]:
    at = jobs.fields.job_id
    if isinstance(at, Source) and (at.body is None or at.jwt is not None):
        yield Fault(
            ("jobs", "fields", "job_id"), "must be in the job's object (`body`); an id in a header is `trigger.job_id`"
        )
    if jobs.single is None:
        if jobs.fields.job_id is None and jobs.trigger.job_id is None:
            yield Fault(
                ("jobs", "fields", "job_id"), "no job id anywhere; is this an API of one job at a time (`single`)?"
            )
        return
    trigger = jobs.trigger
    without = {
        ("running",): jobs.running,
        ("trigger", "idempotent"): trigger.idempotent,
        ("trigger", "job_id"): trigger.job_id,
        ("trigger", "conflict_job_id"): trigger.conflict_job_id,
    }
    for place, given in without.items():
        if given:
            yield Fault(("jobs", *place), "is not allowed with `single`: there are no job ids")
