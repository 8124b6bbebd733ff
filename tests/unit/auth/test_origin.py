"""A kept session is used by the login that created it, and by no other."""

from typing import Any

import pytest

from runner import profile as profiles
from runner.profile.models import Profile, Source, Step
from tests.unit.auth.test_login_flow import TOKENS, CommandLine

OTHER: dict[str, Any] = {"scope": "openid sync:write"}
LEFT: dict[str, Any] = {"scope": "openid"}


def with_scope(**of_step: Any) -> Profile:
    """The profile whose login asks for the parameter `scope`, and more about its only step."""
    profile = profiles.load("garminsync")
    auth, step = profile.auth, profile.auth.steps["password"]
    body = {"username": "${username}", "password": "${password}", "scope": "${params.scope}"}
    request = step.request.model_copy(update={"json_": body})
    steps = {"password": Step(**{"request": request, "answers": step.answers, **of_step})}
    return profile.model_copy(update={"auth": auth.model_copy(update={"steps": steps})})


def constant(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters, as templates name them; one that no request of the login uses is among them."""
    return {f"params.{name}": value for name, value in params.items()} | {"params.days": 3}


def kept_by(profile: Profile, params: dict[str, Any]) -> Any:
    """The store after a login."""
    cli = CommandLine((200, TOKENS), profile=profile, constant=constant(params))
    cli.ask()
    return cli.store


def sent_with(store: Any, profile: Profile, given: dict[str, Any]) -> list[str]:
    """The requests of the next run."""
    cli = CommandLine((200, TOKENS), store=store, profile=profile, constant=given)
    cli.ask()
    return [name for name, _body in cli.sent]


def test_a_session_of_another_scope_is_not_used_nor_refreshed() -> None:
    store = kept_by(with_scope(), LEFT)
    assert sent_with(store, with_scope(), constant(OTHER)) == ["login"]
    assert sent_with(store, with_scope(), constant(OTHER)) == []  # that one's session is kept now


def test_a_parameter_that_the_login_does_not_send_and_a_rule_of_another_version_cost_no_login() -> None:
    store = kept_by(with_scope(), LEFT)
    assert sent_with(store, with_scope(), constant(LEFT) | {"params.days": 400}) == []
    answers = with_scope().auth.steps["password"].answers
    assert sent_with(store, with_scope(answers=answers[::-1]), constant(LEFT)) == []


def test_a_session_of_another_profiles_login_is_not_used() -> None:
    store = kept_by(with_scope(), LEFT)
    assert sent_with(store, profiles.load("garminsync"), {}) == ["login"]


def test_a_session_that_lacks_what_a_header_needs_is_made_anew() -> None:
    profile = with_scope()
    store = kept_by(profile, LEFT)
    carries = (
        profile.auth.steps["password"].answers[0].model_copy(update={"carry": {"region": (Source(body="scope"),)}})
    )
    newer = with_scope(answers=(carries, *profile.auth.steps["password"].answers[1:]))
    headers = {"Authorization": "Bearer ${access_token}", "X-Region": "${region}"}
    newer = newer.model_copy(update={"auth": newer.auth.model_copy(update={"headers": headers})})
    assert sent_with(store, newer, constant(LEFT)) == ["login"]


@pytest.mark.parametrize("params", [LEFT, OTHER])
def test_a_session_of_a_version_that_kept_no_fingerprint_is_used(params: dict[str, Any]) -> None:
    store = kept_by(with_scope(), LEFT)
    store.state = type(store.state)(store.state.session)
    assert sent_with(store, with_scope(), constant(params)) == []
