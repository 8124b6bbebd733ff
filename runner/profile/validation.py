"""What must fit together in a profile: the values that templates name, the steps that answers lead to, words, parameters.

Pure: a profile in, faults with their places out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from runner.models import JobStatus
from runner.profile import template
from runner.profile.models import Auth, Jobs, Parameter, Profile, Request, SessionFields, Source
from runner.yaml_source import Place

SYNC = frozenset({"sync_type", "account"})
TRIGGER = SYNC | {"start_date", "end_date", "force_full", "idempotency_key"}
ENDS = ("done", "refused", "locked", "unsupported", "later", "failing")


class Fault(NamedTuple):
    """What is wrong, and where."""

    place: Place
    message: str


def faults(profile: Profile) -> Iterator[Fault]:
    """Everything that does not fit together."""
    yield from _auth(profile.auth)
    yield from _parameters(profile)
    yield from _jobs(profile)


def _auth(auth: Auth) -> Iterator[Fault]:
    secrets = frozenset(auth.secrets) - {"totp_seed", "refresh_token"}
    own = secrets | {"account"} | ({"basic"} if {"username", "password"} <= secrets else set())
    yield from _steps(auth, own)
    if auth.static:
        yield from _texts(("auth", "headers"), auth.headers, own)
        if auth.session:
            yield Fault(("auth", "session"), "goes with `steps` or `refresh`; a profile of headers only has no session")
        return
    if auth.session is None:
        yield Fault(("auth",), "`session` is required with `steps` and `refresh`: it says where the token stands")
    else:
        yield from _session(("auth", "session"), auth.session, auth.carried)
    if auth.refresh:
        values = own | auth.carried | {"refresh_token", "access_token"}
        yield from _request(("auth", "refresh", "request"), auth.refresh.request, values)
        if "refresh_token" not in auth.secrets and not auth.steps:
            yield Fault(("auth", "secrets"), "without `steps` the first refresh needs the secret `refresh_token`")
        if auth.refresh.session:
            yield from _session(("auth", "refresh", "session"), auth.refresh.session, auth.carried)
    yield from _texts(("auth", "headers"), auth.headers, own | auth.carried | {"access_token", "token_type"})


def _steps(auth: Auth, own: frozenset[str]) -> Iterator[Fault]:
    code = frozenset({"code"}) if "totp_seed" in auth.secrets else frozenset()
    ends = {*ENDS, *auth.steps}
    for name, step in auth.steps.items():
        place: Place = ("auth", "steps", name)
        if name in ENDS:
            yield Fault(place, f"`{name}` is a word for an end; give the step another name")
        yield from _request((*place, "request"), step.request, own | code | auth.carried)
        for index, answer in enumerate(step.answers):
            at = (*place, "answers", index)
            if answer.then not in ends:
                known = ", ".join(sorted(ends))
                yield Fault((*at, "then"), f"`{answer.then[:40]}` is no step and no end; known: {known}")
            if answer.cause and answer.then != "refused":
                yield Fault((*at, "cause"), "goes with `then: refused` only")
            for key, sources in answer.carry.items():
                yield from _known((*at, "carry", key), sources, auth.carried)
                if key in own | {"code", "access_token", "refresh_token", "token_type"}:
                    yield Fault((*at, "carry", key), f"`{key}` has a meaning already; carry it by another name")
    if auth.steps and not any(answer.then == "done" for step in auth.steps.values() for answer in step.answers):
        yield Fault(("auth", "steps"), "no answer leads to `done`: no login could succeed")


def _session(place: Place, fields: SessionFields, known: frozenset[str]) -> Iterator[Fault]:
    for name in type(fields).model_fields:
        yield from _known((*place, name), getattr(fields, name) or (), known)
    if fields.expires_in and fields.expires_at:
        yield Fault((*place, "expires_at"), "give `expires_in` or `expires_at`, not both")


def _known(place: Place, sources: tuple[Source, ...], names: frozenset[str]) -> Iterator[Fault]:
    for source in sources:
        if source.value is not None and source.value not in names:
            yield Fault(
                place, f"no value named `{source.value[:40]}`; known here: {', '.join(sorted(names)) or 'none'}"
            )


def _parameters(profile: Profile) -> Iterator[Fault]:
    types = profile.jobs.sync_types
    for name, parameter in profile.parameters.items():
        place: Place = ("parameters", name)
        if parameter.default is not None and not parameter.fits(parameter.default):
            yield Fault((*place, "default"), f"should be of the parameter's type, {parameter.type}")
        if parameter.default is not None and parameter.required:
            yield Fault((*place, "required"), "a parameter with a default is never missing; drop one of both")
        for word in parameter.sync_types:
            if types and word not in types:
                yield Fault((*place, "sync_types"), f"no sync type `{word[:40]}`; known: {', '.join(types)}")


def _jobs(profile: Profile) -> Iterator[Fault]:
    jobs = profile.jobs
    always = frozenset(f"params.{name}" for name, one in profile.parameters.items() if _always(one))
    sometimes = frozenset(f"params.{name}" for name in profile.parameters) - always
    every = SYNC | always
    known = every | jobs.carried
    carried = known | frozenset(jobs.trigger.carry) | (frozenset() if jobs.single else {"job_id"})
    place: Place = ("jobs",)
    seen: frozenset[str] = frozenset()
    for index, lookup in enumerate(jobs.lookups):
        yield from _request((*place, "lookups", index, "request"), lookup.request, every | seen, sometimes)
        yield from _carried((*place, "lookups", index), lookup.carry, TRIGGER | {"job_id", "limit"})
        seen |= frozenset(lookup.carry)
    yield from _carried((*place, "trigger"), jobs.trigger.carry, TRIGGER | jobs.carried | {"job_id", "limit"})
    yield from _request((*place, "trigger", "request"), jobs.trigger.request, TRIGGER | known, sometimes)
    yield from _request((*place, "status", "request"), jobs.status.request, carried, sometimes)
    yield from _carried_by_trigger(jobs)
    if jobs.running:
        yield from _request((*place, "running", "request"), jobs.running.request, known, sometimes)
    if jobs.recent:
        values = frozenset({"limit", "account"})
        yield from _request((*place, "recent", "request"), jobs.recent.request, values | always, sometimes)
    if jobs.cancel:
        yield from _request((*place, "cancel", "request"), jobs.cancel.request, carried, sometimes)
    yield from _known((*place, "trigger", "job_id"), jobs.trigger.job_id or (), TRIGGER | known)
    yield from _key(jobs)
    yield from _words(jobs)
    yield from _single(jobs)


def _always(parameter: Parameter) -> bool:
    """Whether every sync has a value for it."""
    return (parameter.required or parameter.default is not None) and not parameter.sync_types


def _carried(place: Place, carry: dict[str, Any], taken: frozenset[str]) -> Iterator[Fault]:
    for name, sources in carry.items():
        if name in taken:
            yield Fault((*place, "carry", name), f"`{name}` has a meaning already; carry it by another name")
        yield from _known((*place, "carry", name), sources, frozenset())


def _carried_by_trigger(jobs: Jobs) -> Iterator[Fault]:
    """What only a trigger's answer carries is missing for a job that was found running."""
    if jobs.running is None and jobs.trigger.conflict_job_id is None:
        return
    for key, part in (("status", jobs.status), ("cancel", jobs.cancel)):
        for name, may_be_absent, at in template.names(_parts(part.request)) if part else ():
            if name in jobs.trigger.carry and not may_be_absent:
                message = f"a job that is found running has no `{name}`, only its trigger has; write ${{{name}?}}"
                yield Fault(("jobs", key, "request", *at), message)


def _key(jobs: Jobs) -> Iterator[Fault]:
    uses = any(name == "idempotency_key" for name, _optional, _place in template.names(_parts(jobs.trigger.request)))
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
                yield Fault(("jobs", "words", state), f"the word `{word}` stands for {before} already")
    for state in (JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED):
        if not jobs.words.get(state):
            yield Fault(("jobs", "words"), f"no word for `{state.value}`: such a job would break the contract")


def _single(jobs: Jobs) -> Iterator[Fault]:
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
            yield Fault(("jobs", *place), "does not go with `single`: there are no job ids")


def _parts(request: Request) -> dict[str, Any]:
    return request.model_dump(by_alias=True, exclude_none=True)


def _request(
    place: Place, request: Request, known: frozenset[str], optional: frozenset[str] = frozenset()
) -> Iterator[Fault]:
    yield from _texts(place, _parts(request), known, optional)
    if any(may_be_absent for _name, may_be_absent, _at in template.names(request.path)):
        yield Fault((*place, "path"), "no part of a path may be absent; take the ? away")


def _texts(place: Place, texts: Any, known: frozenset[str], optional: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """Faults of the templates in `texts`, which may use `known` names, and `optional` ones only with `?`."""
    for at in template.stray(texts):
        yield Fault((*place, *at), "a $ that begins no ${name} or ${name?} (small letters); write $$ for a dollar")
    for name, may_be_absent, at in template.names(texts):
        if name in optional and not may_be_absent:
            yield Fault((*place, *at), f"`{name}` may be absent; write ${{{name}?}}, or give it a default")
        elif name not in known | optional:
            listed = ", ".join(sorted(known | optional))
            yield Fault((*place, *at), f"no value named `{name[:60]}`; known here: {listed}")
