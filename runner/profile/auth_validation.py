"""Validates a login as a whole: the values that templates name, the next steps of responses. Pure."""

from collections.abc import Iterator
from typing import Any

from runner.profile.auth_models import Auth, SessionFields
from runner.profile.parts import Source
from runner.profile.template_checks import Fault, expression_faults, known_sources, request_faults, text_faults
from runner.yaml_source import Place

ENDS = ("done", "refused", "locked", "unsupported", "later", "failing")
TAKEN = frozenset({"code", "access_token", "refresh_token", "token_type", "cookies", "previous"})
RANDOM = frozenset({"random.state", "random.nonce", "pkce.verifier", "pkce.challenge"})


def faults(auth: Auth, always: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Yields every inconsistency; `always` and `sometimes` are parameters that have a value then."""
    secrets = frozenset(auth.secrets) - {"totp_seed", "refresh_token"}
    own = secrets | {"account", "base_url", "previous.access_token"} | always
    own |= {"basic"} if {"username", "password"} <= secrets else set()
    own -= {"client_key"}  # a template cannot use it; it only signs
    own |= {"client_assertion"} if {"client_id", "client_key"} <= secrets else set()
    own |= auth.cookie_values.keys()
    if auth.cookie_values and not auth.cookies:
        yield Fault(("auth", "cookie_values"), "needs `cookies: true`")
    own |= {"client_basic"} if {"client_id", "client_secret"} <= secrets else set()
    yield from text_faults(("auth", "assertion"), auth.assertion.model_dump(exclude_none=True), own, sometimes)
    yield from _steps(auth, own, sometimes)
    yield from _pages(auth, own | auth.carried | RANDOM | sometimes)
    yield from _rules(auth, own, sometimes)
    if auth.static:
        yield from text_faults(("auth", "headers"), auth.headers, own, sometimes)
        if auth.session:
            yield Fault(("auth", "session"), "needs `steps` or `refresh`; a profile with only headers has no session")
        return
    if auth.session is None:
        yield Fault(("auth",), "`session` is required with `steps` and `refresh`: it gives the token's place")
    else:
        yield from _session(("auth", "session"), auth.session, auth.carried, cookies=auth.cookies)
    if auth.refresh:
        values = own | auth.carried | {"refresh_token", "access_token"}
        yield from request_faults(("auth", "refresh", "request"), auth.refresh.request, values, sometimes)
        if "refresh_token" not in auth.secrets and not auth.steps:
            yield Fault(("auth", "secrets"), "without `steps` the first refresh needs the secret `refresh_token`")
        if auth.refresh.session:
            yield from _session(
                ("auth", "refresh", "session"), auth.refresh.session, auth.carried, cookies=auth.cookies
            )
    if auth.revoke:
        values = own | auth.carried | {"refresh_token", "access_token"}
        yield from request_faults(("auth", "revoke", "request"), auth.revoke.request, values, sometimes)
    yield from text_faults(
        ("auth", "headers"), auth.headers, own | auth.carried | {"access_token", "token_type"}, sometimes
    )


def _rules(auth: Auth, own: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    """Checks the values that expressions name, and those that must be returned."""
    asked = own | auth.carried | RANDOM
    for name, step in auth.steps.items():
        for index, answer in enumerate(step.answers):
            at: Place = ("auth", "steps", name, "answers", index)
            yield from expression_faults(at, answer.model_dump(exclude_none=True), asked, sometimes)
            for key, sources in answer.match.items():
                yield from known_sources((*at, "match", key), sources, auth.carried)
                if key not in asked:
                    yield Fault(
                        (*at, "match", key), f"unknown value `{key[:60]}`; known here: {', '.join(sorted(asked))}"
                    )
    for key in ("session", "refresh", "revoke", "expired", "previous_expired"):
        part = getattr(auth, key)
        dumped = (
            [one.model_dump(exclude_none=True) for one in part]
            if isinstance(part, tuple)
            else part and part.model_dump()
        )
        kept = own | (auth.carried if key in ("session", "refresh", "revoke") else frozenset())
        yield from expression_faults(("auth", key), dumped, kept, sometimes)


def _steps(auth: Auth, own: frozenset[str], sometimes: frozenset[str]) -> Iterator[Fault]:
    code = frozenset({"code"}) if "totp_seed" in auth.secrets else frozenset()
    ends = {*ENDS, *auth.steps}
    for name, step in auth.steps.items():
        place: Place = ("auth", "steps", name)
        if name in ENDS:
            yield Fault(place, f"`{name}` is reserved for an end; give the step another name")
        yield from request_faults((*place, "request"), step.request, own | code | RANDOM | auth.carried, sometimes)
        for index, answer in enumerate(step.answers):
            at = (*place, "answers", index)
            if answer.then not in ends:
                known = ", ".join(sorted(ends))
                yield Fault((*at, "then"), f"`{answer.then[:40]}` is neither a step nor an end; known: {known}")
            if answer.cause and answer.then != "refused":
                yield Fault((*at, "cause"), "is only for `then: refused`")
            for key, sources in answer.carry.items():
                yield from known_sources((*at, "carry", key), sources, auth.carried)
                if key in own | TAKEN:
                    yield Fault((*at, "carry", key), f"`{key}` already has a meaning; carry it under another name")
    if auth.steps and not any(answer.then == "done" for step in auth.steps.values() for answer in step.answers):
        yield Fault(("auth", "steps"), "no response leads to `done`: no login could succeed")


def _session(place: Place, fields: SessionFields, known: frozenset[str], *, cookies: bool) -> Iterator[Fault]:
    if fields.access_token is None and not cookies:
        yield Fault((*place, "access_token"), "is required, unless the session is in the cookies (`cookies: true`)")
    for name in type(fields).model_fields:
        sources: tuple[Source, ...] = getattr(fields, name) or ()
        yield from known_sources((*place, name), sources, known)
        if not cookies and any(source.cookie_expires for source in sources):
            yield Fault((*place, name), "`cookie_expires` needs `cookies: true`")


def _pages(auth: Auth, known: frozenset[str]) -> Iterator[Fault]:
    """Checks what reads pages: a form must come after a page, a selector must be valid."""
    for index, (name, step) in enumerate(auth.steps.items()):
        place: Place = ("auth", "steps", name)
        leads_here = any(answer.then == name for other in auth.steps.values() for answer in other.answers)
        if step.request.submit and index == 0 and not leads_here:
            yield Fault((*place, "request", "submit"), "the first step has no page yet; start with a `path`")
    for at, key, value in _texts(("auth",), auth.model_dump(exclude_none=True)):
        if key in ("html", "submit"):
            from runner.profile.html import selector_fault

            fault = selector_fault(value)
            if fault:
                yield Fault(at, fault)
            yield from text_faults(at, value, known)


def _texts(place: Place, part: Any) -> Iterator[tuple[Place, str | int, str]]:
    """Yields each text of a dumped part, with its place and key."""
    for key, value in (
        part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ()
    ):
        if isinstance(value, str):
            yield (*place, key), key, value
        else:
            yield from _texts((*place, key), value)
