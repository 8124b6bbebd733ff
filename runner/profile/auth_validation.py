"""What must fit together in a login: the values that its templates name, the steps that answers lead to. Pure."""

from collections.abc import Iterator

from runner.profile.auth_models import Auth, SessionFields
from runner.profile.template_checks import Fault, known_sources, request_faults, text_faults
from runner.yaml_source import Place

ENDS = ("done", "refused", "locked", "unsupported", "later", "failing")
RANDOM = frozenset({"random.state", "random.nonce", "pkce.verifier", "pkce.challenge"})


def faults(auth: Auth, always: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Everything that does not fit together; `always` and `sometimes` are parameters that have a value then."""
    secrets = frozenset(auth.secrets) - {"totp_seed", "refresh_token"}
    own = secrets | {"account", "base_url", "previous.access_token"} | always
    own |= {"basic"} if {"username", "password"} <= secrets else set()
    own |= {"client_basic"} if {"client_id", "client_secret"} <= secrets else set()
    yield from _steps(auth, own, sometimes)
    if auth.static:
        yield from text_faults(("auth", "headers"), auth.headers, own, sometimes)
        if auth.session:
            yield Fault(("auth", "session"), "goes with `steps` or `refresh`; a profile of headers only has no session")
        return
    if auth.session is None:
        yield Fault(("auth",), "`session` is required with `steps` and `refresh`: it says where the token stands")
    else:
        yield from _session(("auth", "session"), auth.session, auth.carried)
    if auth.refresh:
        values = own | auth.carried | {"refresh_token", "access_token"}
        yield from request_faults(("auth", "refresh", "request"), auth.refresh.request, values, sometimes)
        if "refresh_token" not in auth.secrets and not auth.steps:
            yield Fault(("auth", "secrets"), "without `steps` the first refresh needs the secret `refresh_token`")
        if auth.refresh.session:
            yield from _session(("auth", "refresh", "session"), auth.refresh.session, auth.carried)
    if auth.revoke:
        values = own | auth.carried | {"refresh_token", "access_token"}
        yield from request_faults(("auth", "revoke", "request"), auth.revoke.request, values, sometimes)
    yield from text_faults(
        ("auth", "headers"), auth.headers, own | auth.carried | {"access_token", "token_type"}, sometimes
    )


def _steps(auth: Auth, own: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    code = frozenset({"code"}) if "totp_seed" in auth.secrets else frozenset()
    ends = {*ENDS, *auth.steps}
    for name, step in auth.steps.items():
        place: Place = ("auth", "steps", name)
        if name in ENDS:
            yield Fault(place, f"`{name}` is a word for an end; give the step another name")
        yield from request_faults((*place, "request"), step.request, own | code | RANDOM | auth.carried, sometimes)
        for index, answer in enumerate(step.answers):
            at = (*place, "answers", index)
            if answer.then not in ends:
                known = ", ".join(sorted(ends))
                yield Fault((*at, "then"), f"`{answer.then[:40]}` is no step and no end; known: {known}")
            if answer.cause and answer.then != "refused":
                yield Fault((*at, "cause"), "goes with `then: refused` only")
            for key, sources in answer.carry.items():
                yield from known_sources((*at, "carry", key), sources, auth.carried)
                if key in own | {"code", "access_token", "refresh_token", "token_type"}:
                    yield Fault((*at, "carry", key), f"`{key}` has a meaning already; carry it by another name")
    if auth.steps and not any(answer.then == "done" for step in auth.steps.values() for answer in step.answers):
        yield Fault(("auth", "steps"), "no answer leads to `done`: no login could succeed")


def _session(place: Place, fields: SessionFields, known: frozenset[str]) -> Iterator[Fault]:
    for name in type(fields).model_fields:
        yield from known_sources((*place, name), getattr(fields, name) or (), known)
