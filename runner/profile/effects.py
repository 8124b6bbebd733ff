"""Finds well-formed parts of a profile that have no effect, or one that is never meant. Pure.

Such as a request about a job that does not name the job, a rule that matches every response, a parameter that no
request uses. `slips` has those of single requests and steps.
"""
# Decision 0176.

from collections.abc import Iterator
from typing import Any

from runner.profile import template
from runner.profile.auth_models import Auth, SessionFields
from runner.profile.file_names import unfit
from runner.profile.models import Jobs, Login, Profile
from runner.profile.parts import Rule
from runner.profile.slips import TOKEN
from runner.profile.template_checks import Fault, instances
from runner.yaml_source import Place


def faults(profile: Profile | Login) -> Iterator[Fault]:
    """Yields every such part."""
    dumped = profile.model_dump(by_alias=True, exclude_none=True)
    used = _names(dumped)
    yield from _header_names((), dumped)
    yield from _secrets(profile.auth)
    yield from _unused(profile, used)
    yield from _session(profile.auth)
    yield from _empty_rules(profile)
    if isinstance(profile, Profile):
        yield from _methods(profile)
        yield from _good_answers(profile)
        yield from _jobs(profile.jobs, dumped["jobs"])


def _names(part: Any) -> frozenset[str]:
    """Returns every value that templates, expressions and sources of the dumped part name."""
    return frozenset(_named(part))


def _named(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        if "${" in part:
            yield from (name for name, _optional, _place in template.names(part))
    elif isinstance(part, dict):
        for key, one in part.items():
            if key == "match" and isinstance(one, dict):
                yield from one
            elif key == "value" and isinstance(one, str):
                yield one
            yield from _named(key)
            yield from _named(one)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from _named(one)


def _header_names(place: Place, part: Any) -> Iterator[Fault]:
    """Yields headers and cookies that no response can have, since they are no names (RFC 9110, 5.1; RFC 6265, 4.1.1)."""
    if place[-2:] in (("request", "json"), ("request", "query"), ("request", "form")):
        return
    for key, value in (
        part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ()
    ):
        names = [value] if key in ("cookie", "cookie_expires", "retry_after") and isinstance(value, str) else []
        if key == "header":
            names = [value] if isinstance(value, str) else list(value)
        if key == "cookie_values":
            names = list(value.values())
        for name in names:
            if not TOKEN.fullmatch(name):
                yield Fault((*place, key), f"`{name[:40]}` is not the name of a header or cookie; no response has it")
        yield from _header_names((*place, key), value)


def _secrets(auth: Auth) -> Iterator[Fault]:
    for index, secret in enumerate(auth.secrets):
        if secret in auth.secrets[:index]:
            yield Fault(("auth", "secrets", index), f"`{secret}` is listed twice; keep one")


def _unused(profile: Profile | Login, used: frozenset[str]) -> Iterator[Fault]:
    for name in profile.auth.cookie_values:
        if name not in used:
            yield Fault(("auth", "cookie_values", name), f"no request uses ${{{name}}}; remove it, or send it back")
    for name in profile.parameters if not (isinstance(profile, Profile) and profile.login) else ():
        if f"params.{name}" not in used:
            yield Fault(("parameters", name), f"no request uses ${{params.{name}}}: its value would have no effect")
    for name, step in profile.auth.steps.items():
        for index, answer in enumerate(step.answers):
            for key in answer.match:
                if key.startswith("random.") and not any(key in one.sends for one in profile.auth.steps.values()):
                    yield Fault(("auth", "steps", name, "answers", index, "match", key), f"no step sends ${{{key}}}")


def _session(auth: Auth) -> Iterator[Fault]:
    if auth.static or auth.session is None:
        return
    sent = _names(auth.headers)
    if auth.session.access_token is not None and not auth.cookies and not sent & (auth.carried | {"access_token"}):
        yield Fault(("auth", "headers"), "no header sends ${access_token}: the API would not see the session")
    refresh = auth.refresh.session if auth.refresh else None
    for place, fields in ((("auth", "session"), auth.session), (("auth", "refresh", "session"), refresh)):
        yield from _lifetime(place, fields) if fields else ()


def _lifetime(place: Place, fields: SessionFields) -> Iterator[Fault]:
    for source in fields.expires_in or ():
        if source.jwt in ("exp", "iat", "nbf") or source.cookie_expires is not None:
            yield Fault((*place, "expires_in"), "this is a moment, not a lifetime; give it as `expires_at`")


def _empty_rules(profile: Profile | Login) -> Iterator[Fault]:
    """Yields rules without a condition, which match every response. The answers of a login's steps have a status."""
    for place, rule in instances((), profile, Rule):
        if type(rule) is Rule and not (rule.status or rule.when or rule.header or rule.type or rule.html or rule.text):
            yield Fault(place, "a rule without a condition matches every response; give `status`, `when` or another")


def _methods(profile: Profile) -> Iterator[Fault]:
    """Yields requests that change something and do not say how: they would be a GET, which caches answer."""
    jobs, revoke = profile.jobs, profile.auth.revoke
    for place, part in (
        (("jobs", "trigger", "request"), jobs.trigger),
        (("jobs", "cancel", "request"), jobs.cancel),
        (("auth", "revoke", "request"), revoke),
    ):
        if part and "method" not in part.request.model_fields_set and part.request.json_ is part.request.form is None:
            yield Fault(
                place, "has no `method`: it would be a GET; give POST, PUT, PATCH or DELETE, or GET if it is one"
            )


def _good_answers(profile: Profile) -> Iterator[Fault]:
    """Yields rules that take every good response for an error."""
    errors = profile.errors
    limit = Rule(status=errors.rate_limit.status, when=errors.rate_limit.when)
    for key, rules in (("when", errors.when), ("starting", errors.starting), ("rate_limit", (limit,))):
        for rule in rules:
            good = [status for status in rule.status or () if 200 <= status < 300]
            if good and not (rule.when or rule.without_json):
                yield Fault(
                    ("errors", key), f"{good[0]} alone is every good response; add what tells the error, with `when`"
                )


def _jobs(jobs: Jobs, dumped: dict[str, Any]) -> Iterator[Fault]:
    """`dumped`: the same as plain data."""
    yield from _of_one_job(jobs, dumped)
    if jobs.by_key and "idempotency_key" not in _names(dumped["by_key"]):
        yield Fault(
            ("jobs", "by_key", "request"), "does not use ${idempotency_key}: other jobs would be taken for ours"
        )
    if jobs.logs and jobs.logs.cursor and "cursor" not in _names(dumped["logs"]["request"]):
        yield Fault(("jobs", "logs", "request"), "does not use ${cursor}: each part would be the first")
    yield from _files(jobs, dumped.get("artifacts", {}))


def _of_one_job(jobs: Jobs, dumped: dict[str, Any]) -> Iterator[Fault]:
    """Yields a status or a cancel that names no job beside one that does: where neither does, both are the newest job's."""
    if jobs.single or not jobs.cancel:
        return
    of_job = {"job_id", "sync_type"} | jobs.trigger.carry.keys() | jobs.carried  # the newest of a type is a job too
    found = {name for lookup in jobs.cancel.lookups for name in lookup.carry}
    status = _names(dumped["status"]) & of_job
    cancel = _names(dumped["cancel"]) & (of_job | found)
    for key, named, other in (("status", status, cancel), ("cancel", cancel, status)):
        if other and not named:
            yield Fault(
                ("jobs", key, "request"), "names no job: it would be the same request for every job; use ${job_id}"
            )


def _files(jobs: Jobs, dumped: dict[str, Any]) -> Iterator[Fault]:
    files = jobs.artifacts
    if files is None:
        return
    several = {"file", *(files.listing.carry if files.listing else ())}
    if (files.listing or len(files.names) > 1) and not _names(dumped["request"]) & several:
        yield Fault(("jobs", "artifacts", "request"), "does not use ${file}: each file would be the same")
    for index, name in enumerate(files.names):
        why = unfit(name) or ("is listed twice" if name in files.names[:index] else None)
        if why:
            yield Fault(
                ("jobs", "artifacts", "names", index), f"the file name {why}; give a path below the job's directory"
            )
