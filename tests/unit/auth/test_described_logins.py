"""Built-in logins of systems that are not here: stand-ins written from the published descriptions of Authelia, authentik and forms."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import Cause, LoginRefused
from runner.events.observer import Observer
from runner.http.client import Client
from runner.profile import parameters
from runner.profile.loading import load_login
from runner.state.memory import MemoryStore
from tests.support.login_model import FakeClock, client_of

AUTH, API = "https://auth.example.org", "https://api.example.org"
Answer = Callable[[httpx.Request, dict[str, Any], str], httpx.Response]


class Place:
    """A user with a password and a seed before a stand-in; `sent` are the passwords and codes that it got."""

    def __init__(
        self, name: str, answer: Answer, *, password: str = "geheim", base_url: str = API, **params: Any
    ) -> None:
        self.clock = FakeClock()
        self.sent: list[str] = []
        self._answer = answer
        constant = {f"params.{key}": value for key, value in params.items()} | {"base_url": base_url}
        self.login = LoginSessionProvider(
            client=self._client(AUTH), auth=load_login(name).auth, base_url=AUTH, store=MemoryStore(), clock=self.clock,
            credentials=Credentials("me", password, Seed(b"0123456789")), constant=constant,
            named={"api": self._client(API)},
        )  # fmt: skip

    def _client(self, address: str) -> Client:
        return client_of(address, self.clock, self._take)

    def _take(self, request: httpx.Request) -> httpx.Response:
        raw = request.content.decode()
        is_json = "json" in request.headers.get("content-type", "")
        told = json.loads(raw) if is_json else {key: one[0] for key, one in parse_qs(raw).items()}
        self.sent += [told[key] for key in ("password", "token", "code", "otp") if key in told]
        return self._answer(request, told, request.headers.get("cookie", ""))

    def go(self) -> Any:
        return asyncio.run(self.login.session(Deadline(self.clock), Observer(self.clock)))


def authelia(request: httpx.Request, told: dict[str, Any], cookies: str) -> httpx.Response:
    ok = {"status": "OK"}
    if request.url.path == "/api/firstfactor":
        if told["password"] != "geheim":
            return httpx.Response(
                401, json={"status": "KO", "message": "Authentication failed. Check your credentials."}
            )
        cookie = "authelia_session=s1; Domain=example.org; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"
        return httpx.Response(200, json=ok, headers={"Set-Cookie": cookie})
    assert cookies == "authelia_session=s1"
    if request.url.path == "/api/user/info":
        return httpx.Response(200, json={**ok, "data": {"method": "totp", "has_totp": True, "has_webauthn": False}})
    assert request.url.path == "/api/secondfactor/totp"
    return httpx.Response(200, json=ok)


def test_authelias_cookie_goes_to_the_api_below_its_domain() -> None:
    place = Place("authelia", authelia)
    session = place.go()
    assert (session.token.mfa_verified, session.expires_at) == (True, place.clock.now + 3600)
    assert place.login.headers(session, "/jobs") == {"Cookie": "authelia_session=s1"}
    assert (place.sent[0], len(place.sent)) == ("geheim", 2)


class Authentik:
    """Its flow executor: each POST is answered by a redirect to the same address, which shows the next stage."""

    def __init__(self, *, both: bool) -> None:
        self.stage, self.both = "ak-stage-identification", both

    def __call__(self, request: httpx.Request, told: dict[str, Any], cookies: str) -> httpx.Response:
        if request.url.host == "api.example.org":
            cookie = "authentik_proxy_x=p1; Path=/; HttpOnly; Secure"
            return httpx.Response(404, json={}, headers={"Set-Cookie": cookie})
        assert request.url.path == "/api/v3/flows/executor/default-authentication-flow/"
        if request.method == "GET":
            more = {"password_fields": self.both, "device_challenges": [{"device_class": "totp"}]}
            cookie = "authentik_session=a1; Path=/; Secure"
            return httpx.Response(200, json={"component": self.stage, **more}, headers={"Set-Cookie": cookie})
        assert (told["component"], cookies) == (self.stage, "authentik_session=a1")
        if "password" in told and told["password"] != "geheim":
            errors = {"password": [{"string": "Invalid password", "code": "invalid"}]}
            return httpx.Response(200, json={"component": self.stage, "response_errors": errors})
        password = "ak-stage-authenticator-validate" if self.both else "ak-stage-password"
        self.stage = {
            "ak-stage-identification": password, "ak-stage-password": "ak-stage-authenticator-validate",
            "ak-stage-authenticator-validate": "xak-flow-redirect",
        }[self.stage]  # fmt: skip
        return httpx.Response(302, headers={"Location": str(request.url)})


@pytest.mark.parametrize("both", [True, False])
def test_authentiks_stages_lead_to_the_outposts_cookie_and_the_password_goes_once(both: bool) -> None:
    place = Place("authentik", Authentik(both=both), flow="default-authentication-flow")
    session = place.go()
    assert session.token.mfa_verified
    assert place.login.headers(session, "/jobs") == {"Cookie": "authentik_proxy_x=p1"}
    assert (place.sent[0], len(place.sent)) == ("geheim", 2)


class Form:
    """A site with a CSRF field and a form for the code, whose names are its own."""

    page = '<form method="post"><input type="hidden" name="csrf" value="c1"><input name="{field}"></form>'

    def __call__(self, request: httpx.Request, told: dict[str, Any], cookies: str) -> httpx.Response:
        assert request.url.path in ("/accounts/login/", "/home")
        if request.url.path == "/home":
            return httpx.Response(200, html="<h1>in</h1>", headers={"Set-Cookie": "sid=s2; Path=/"})
        if request.method == "GET":
            return httpx.Response(
                200, html=self.page.format(field="password"), headers={"Set-Cookie": "sid=s1; Path=/"}
            )
        assert (told["csrf"], cookies) == ("c1", "sid=s1")
        if "password" in told:
            assert told["email"] == "me"
            field = "otp" if told["password"] == "geheim" else "password"
            return httpx.Response(200, html=self.page.format(field=field))
        return httpx.Response(303, headers={"Location": "/home"})


FIELDS = {"path": "accounts/login/", "username_field": "email", "password_field": "password", "code_field": "otp"}


def form_params() -> dict[str, Any]:
    found = parameters.values(load_login("form"), None, FIELDS, "login.0.params")
    return {name.removeprefix("params."): value for name, value in found.items()}


def test_any_form_is_filled_in_with_its_csrf_field_and_a_code() -> None:
    place = Place("form", Form(), base_url=AUTH, **form_params())
    session = place.go()
    assert session.token.mfa_verified
    assert place.login.headers(session, "/jobs") == {"Cookie": "sid=s2"}


@pytest.mark.parametrize(
    ("name", "answer", "params"),
    [
        ("authelia", authelia, dict),
        ("authentik", Authentik(both=True), lambda: {"flow": "default-authentication-flow"}),
        ("authentik", Authentik(both=False), lambda: {"flow": "default-authentication-flow"}),
        ("form", Form(), form_params),
    ],
)
def test_a_wrong_password_is_told_as_that_and_sent_once(name: str, answer: Answer, params: Any) -> None:
    place = Place(name, answer, password="not this", **params())
    with pytest.raises(LoginRefused) as caught:
        place.go()
    assert caught.value.cause is Cause.PASSWORD
    assert place.sent == ["not this"]
