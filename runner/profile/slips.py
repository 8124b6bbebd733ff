"""Finds well-formed mistakes in a profile: what is never reached, never used, or has no effect. Pure."""

import re
from collections.abc import Iterator, Mapping

from runner.profile import template
from runner.profile.auth_models import Auth, Step
from runner.profile.auth_validation import ENDS
from runner.profile.models import Login, Profile
from runner.profile.parts import Request, Rule
from runner.profile.template_checks import Fault, instances, parts
from runner.yaml_source import Place

_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\$\$")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OF_THE_CLIENT = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect"})
_ODD_PATHS = (
    (re.compile(r"^//"), "starts with two slashes: that is another host; name hosts in `at`"),
    (re.compile(r"\?"), "has a question mark; put what follows it in `query`"),
    (re.compile(r"[\s\\#]"), "has a space, a backslash or a #, which a path cannot have"),
    (re.compile(r"(^|/)\.\.?(/|$)"), "has a segment of dots, which clients remove"),
    (re.compile(r"[{}<>]|/:[A-Za-z]"), "has a placeholder of another language; write ${name}"),
)


def faults(profile: Profile | Login) -> Iterator[Fault]:
    """Yields every such mistake."""
    for place, request in instances((), profile, Request):
        yield from _request(place, request)
    yield from _steps(profile.auth)
    yield from _refresh(profile.auth)
    if isinstance(profile, Profile):
        yield from _about_jobs(profile)


def _request(place: Place, request: Request) -> Iterator[Fault]:
    path = _PLACEHOLDER.sub("x", request.path or "")
    for odd, why in _ODD_PATHS:
        if odd.search(path):
            yield Fault((*place, "path"), why)
            break
    has_body = request.json_ is not None or request.form is not None
    if has_body and request.path is not None and "method" not in request.model_fields_set:
        yield Fault(place, "has a body and no `method`: it would be a GET; give POST, PUT or PATCH")
    yield from _headers((*place, "headers"), request.headers)


def _headers(place: Place, headers: Mapping[str, str]) -> Iterator[Fault]:
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            yield Fault((*place, name), "not a header name (RFC 9110)")
        if name.lower() in _OF_THE_CLIENT:
            yield Fault((*place, name), "the HTTP client sets this header itself; remove it")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            yield Fault((*place, name), "has a line break or control character, which a header cannot have")


def _plain(rules: tuple[Rule, ...]) -> frozenset[int]:
    """Returns the statuses that match the rule whatever else the response has."""
    return frozenset(status for rule in rules if _by_status_alone(rule) for status in rule.status or ())


def _by_status_alone(rule: Rule) -> bool:
    return not any((rule.when, rule.header, rule.type, rule.html, rule.text))


def _steps(auth: Auth) -> Iterator[Fault]:
    """Yields steps that are not reached, rules that an earlier one hides, values that are carried too late."""
    yield from _headers(("auth", "headers"), auth.headers)
    after = {name: _after(auth, name) for name in auth.steps}
    first = next(iter(auth.steps), None)
    for name, step in auth.steps.items():
        place: Place = ("auth", "steps", name)
        if name != first and name not in after[first or name]:
            yield Fault(place, "no response leads to this step from the first one")
        if not any(answer.then in ENDS for one in (name, *after[name]) for answer in auth.steps[one].answers):
            yield Fault(place, "no response leads from this step to an end, such as `done` or `refused`")
        yield from _shadowed((*place, "answers"), step)
        for wanted in step.sends & auth.carried:
            if not _carried_before(auth, wanted, name, after):
                yield Fault((*place, "request"), f"no step before this one carries `{wanted}`")


def _after(auth: Auth, name: str) -> set[str]:
    """Returns the steps that may follow the one of that name."""
    reached, left = set[str](), {answer.then for answer in auth.steps[name].answers}
    while left:
        one = left.pop()
        if one in auth.steps and one not in reached:
            reached.add(one)
            left |= {answer.then for answer in auth.steps[one].answers}
    return reached


def _shadowed(place: Place, step: Step) -> Iterator[Fault]:
    taken: set[int] = set()
    for index, answer in enumerate(step.answers):
        if answer.status and set(answer.status) <= taken:
            yield Fault(
                (*place, index), "never matches: an earlier rule matches its status, whatever else the response has"
            )
        if _by_status_alone(answer) and not answer.match:
            taken |= set(answer.status or ())


def _carried_before(auth: Auth, wanted: str, name: str, after: Mapping[str, set[str]]) -> bool:
    targets = {answer.then for step in auth.steps.values() for answer in step.answers if wanted in answer.carry}
    return name in targets or any(name in after[one] for one in targets if one in after)


def _refresh(auth: Auth) -> Iterator[Fault]:
    if auth.refresh is None or "refresh_token" in auth.secrets:
        return
    sends = {name for name, _optional, _at in template.names(parts(auth.refresh.request))}
    given = [one for one in (auth.session, auth.refresh.session) if one is not None and one.refresh_token is not None]
    if "refresh_token" in sends and not given:
        yield Fault(("auth", "refresh", "request"), "sends ${refresh_token}, but `session` does not give its place")


def _about_jobs(profile: Profile) -> Iterator[Fault]:
    jobs, expired = profile.jobs, _plain(profile.auth.expired)
    for part, key, rules in (
        ("trigger", "conflict", jobs.trigger.conflict),
        ("status", "missing", jobs.status.missing),
    ):
        one = getattr(jobs, part)
        if key not in one.model_fields_set:
            continue  # what `accepted` takes is taken from the default
        for status in sorted(_plain(rules) & _plain(one.accepted)):
            yield Fault(
                ("jobs", part, key),
                f"{status} is also in `accepted`; distinguish them by a rule with `when`, `header` or `text`",
            )
    for place, rules in (
        (("jobs", "trigger", "accepted"), jobs.trigger.accepted), (("jobs", "status", "accepted"), jobs.status.accepted),
        (("jobs", "trigger", "conflict"), jobs.trigger.conflict), (("jobs", "status", "missing"), jobs.status.missing),
    ):  # fmt: skip
        for status in sorted(_plain(rules) & expired):
            yield Fault(place, f"{status} means that the session ended (`auth.expired`): it would never mean this")
    if jobs.trigger.conflict_job_id and not jobs.trigger.conflict:
        yield Fault(("jobs", "trigger", "conflict_job_id"), "`conflict` is empty: no response is searched for it")
