"""Logins that go through pages: forms, redirects, cookies; at a sign-on that behaves as Keycloak was seen to, and at a gate."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import pytest

from runner import profile as profiles
from runner.auth.chain import GatedSessionProvider
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.static import StaticSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import Cause, ContractError, LoginRefused, StrayAnswer
from runner.events.observer import Observer
from runner.http.client import Client
from runner.http.messages import Response, from_outside
from runner.http.retry import Safety
from runner.jobs.requests import JobRequests, Rights
from runner.models import UserSession
from runner.profile import html
from runner.profile.loading import load_login
from runner.profile.models import Request
from runner.state.memory import MemoryStore
from tests.support.login_model import FakeClock, client_of

ME = Credentials("me", "geheim", Seed(b"0123456789"))
SSO, API = "https://sso.example.org", "https://api.example.org"
PAGE = '<html><body><form id="other" action="/search"><input name="q"></form><form method="post" action="{action}">{fields}</form>'
PASSWORD = (
    '<input type="hidden" name="credentialId" value=""><input name="username"><input type="password" name="password">'
)
OTP = '<input type="hidden" name="selected" value="a&amp;b"><input name="otp">'


class Site:
    """Keycloak's pages and a gate in small. It records what is sent where."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.cookies: list[str] = []
        self.password, self.action, self.state = "geheim", "/login-actions/authenticate?session_code=1", ""
        self.callback = ""
        self.rotated = 0
        self.open = True

    def client(self, address: str) -> Client:
        return client_of(address, self.clock, self.answer)

    def login(self, name: str, address: str, **params: Any) -> LoginSessionProvider:
        constant = {f"params.{key}": value for key, value in params.items()} | {"base_url": API}
        self.store = MemoryStore()
        return LoginSessionProvider(
            client=self.client(address), auth=load_login(name).auth, base_url=address, credentials=ME, store=self.store,
            clock=self.clock, constant=constant, named={"api": self.client(API), "sso": self.client(SSO)},
        )  # fmt: skip

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.host}{request.url.path}")
        self.cookies.append(request.headers.get("cookie", ""))
        form = parse_qs(request.content.decode(), keep_blank_values=True)
        if form:
            self.forms.append(form)
        if request.url.host == "api.example.org":
            return self.gate(request)
        if request.url.path.endswith("/auth"):
            self.state = self.state or request.url.params["state"]
            self.callback = request.url.params["redirect_uri"]
            return self.page(PASSWORD, {"Set-Cookie": 'KC_AUTH="x/y=="; Path=/; Secure'})
        if request.url.path.endswith("/token"):
            assert form["code"] == ["c1"]
            return httpx.Response(200, json={"access_token": "access", "refresh_token": "r", "expires_in": 60})
        assert self.cookies[-1] == 'KC_AUTH="x/y=="', "the sign-in page finds its cookie"
        if "password" in form:
            assert form["credentialId"] == [""]
            return self.page(OTP) if form["password"] == [self.password] else self.page(PASSWORD)
        assert form["selected"] == ["a&b"]
        return httpx.Response(
            302, headers={"Location": f"{self.callback}?{urlencode({'state': self.state, 'code': 'c1'})}"}
        )

    def page(self, fields: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.Response(200, html=PAGE.format(action=self.action, fields=fields), headers=headers)

    def gate(self, request: httpx.Request) -> httpx.Response:
        path, cookies = request.url.path, request.headers.get("cookie", "")
        if path == "/oauth2/start":
            query = urlencode({"redirect_uri": f"{API}/oauth2/callback", "state": "s"})
            return httpx.Response(302, headers={"Location": f"{SSO}/realms/sync/auth?{query}"})
        if path == "/oauth2/callback":
            cookie = "_oauth2_proxy=g0; Path=/; Max-Age=600; HttpOnly; Secure"
            return httpx.Response(302, headers={"Location": "/oauth2/userinfo", "Set-Cookie": cookie})
        if f"_oauth2_proxy=g{self.rotated}" not in cookies or not self.open:
            return httpx.Response(401, json={})
        return httpx.Response(
            200, json={"email": "me@example.org", "authorization": request.headers.get("authorization")}
        )


def ask(provider: Any, site: Site, rejected: UserSession | None = None) -> UserSession:
    session: UserSession = asyncio.run(provider.session(Deadline(site.clock), Observer(site.clock), rejected=rejected))
    return session


def by_page(site: Site) -> LoginSessionProvider:
    return site.login(
        "keycloak-browser", SSO, realm="sync", client_id="c", redirect_uri="http://127.0.0.1/callback", scope="openid"
    )


def test_the_forms_of_the_pages_are_sent_with_their_hidden_fields_and_cookies() -> None:
    site = Site()
    session = ask(by_page(site), site)
    assert (session.access_token, session.token.mfa_verified) == ("access", True)
    assert [one.split()[0] for one in site.asked] == ["GET", "POST", "POST", "POST"]
    assert site.forms[0] == {"credentialId": [""], "username": ["me"], "password": ["geheim"]}
    assert len(site.forms[1]["otp"][0]) == 6
    assert site.forms[2]["code_verifier"]


def test_each_page_is_read_once_for_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    found = html.form
    monkeypatch.setattr(html, "form", lambda text, selector: read.append(selector) or found(text, selector))  # type: ignore[func-returns-value]
    site = Site()
    ask(by_page(site), site)
    assert read == ["input[name=password]", "input[name=otp]"]


def test_a_refused_password_is_told_by_the_page_and_sent_once() -> None:
    site = Site()
    site.password = "another"
    with pytest.raises(LoginRefused) as caught:
        ask(by_page(site), site)
    assert caught.value.cause is Cause.CREDENTIALS  # the page says the same of a locked user
    assert len(site.forms) == 1


def test_an_answer_to_another_login_is_not_taken() -> None:
    site = Site()
    site.state = "of another"
    with pytest.raises(ContractError, match=r"`random.state` differs from the sent value"):
        ask(by_page(site), site)
    assert not [one for one in site.asked if one.endswith("/token")]


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example.net/x", "//evil.example.net/x", "http://sso.example.org/x", "https://sso.example.org:8443/"],
)
def test_a_password_goes_to_no_address_that_is_not_named(elsewhere: str) -> None:
    site = Site()
    site.action = elsewhere
    with pytest.raises(StrayAnswer, match="which is not an address of this login"):
        ask(by_page(site), site)
    assert not site.forms


@pytest.mark.parametrize(
    "action",
    [
        "http://[::1",
        "https://h:99999/x",
        "https://h:x/",
        "//[",
        "\ud800",
        "https://a b/",
        "https://sso.example.org:0x/",
    ],
)
def test_an_address_that_cannot_be_read_is_the_servers_fault_and_no_defect(action: str) -> None:
    site = Site()
    site.action = action
    with pytest.raises((ContractError, StrayAnswer)):
        ask(by_page(site), site)
    assert site.forms == []


def test_a_redirect_to_an_address_that_is_not_named_is_not_followed() -> None:
    site = Site()
    login = site.login("oauth2-proxy", API, prefix="oauth2")
    login._steps._named = {}
    with pytest.raises(StrayAnswer, match=r"is at sso\.example\.org"):
        ask(login, site)
    assert site.asked == ["GET api.example.org/oauth2/start"]


def test_a_page_that_asks_for_something_else_is_told_as_the_accounts_state() -> None:
    site = Site()
    login = by_page(site)
    page = site.page
    site.page = lambda fields, headers=None: page(fields.replace('name="otp"', 'name="push"'), headers)  # type: ignore[method-assign]
    with pytest.raises(LoginRefused) as caught:
        ask(login, site)
    assert caught.value.cause is Cause.ACCOUNT


def test_the_gates_cookie_is_the_session_and_ends_with_it() -> None:
    site = Site()
    login = site.login("oauth2-proxy", API, prefix="oauth2")
    session = ask(login, site)
    assert (session.user_id, session.expires_at) == ("me@example.org", site.clock.now + 600)
    assert login.headers(session, "/jobs") == {"Cookie": "_oauth2_proxy=g0"}
    assert site.store.state.session == session
    asked = len(site.asked)
    assert ask(login, site) == session
    assert len(site.asked) == asked
    site.clock.now += 595
    ask(login, site)
    assert len(site.asked) > asked


def test_a_cookie_that_an_answer_sets_anew_is_used_and_kept_before_the_next_request() -> None:
    site = Site()
    login = site.login("oauth2-proxy", API, prefix="oauth2")
    session = ask(login, site)
    answer = Response(200, {}, {}, True, 0.0, 0.0, 0.0, set_cookies=("_oauth2_proxy=g1; Path=/; Max-Age=600; Secure",))
    asyncio.run(login.answered(session, answer, "/jobs", Deadline(site.clock)))
    assert login.headers(session, "/jobs") == {"Cookie": "_oauth2_proxy=g1"}
    kept = site.store.state.session
    assert kept is not None and "g1" in kept.carried["cookies"]
    assert login.current == kept


@pytest.mark.parametrize(
    ("status", "kind", "over"),
    [(401, "application/json", True), (302, "text/html", True), (403, "text/html", True), (403, "text/plain", True),
     (403, "application/json", False), (502, "text/html", False)],
)  # fmt: skip
def test_each_way_of_a_gate_to_say_that_a_session_ended_is_known(status: int, kind: str, over: bool) -> None:
    login = Site().login("oauth2-proxy", API, prefix="oauth2")
    assert login.expired(Response(status, from_outside({"content-type": kind}), None, False, 0.0, 0.0, 0.0)) is over
    assert login.takes_redirect


def behind(site: Site) -> tuple[GatedSessionProvider, LoginSessionProvider]:
    gate = site.login("oauth2-proxy", API, prefix="oauth2")
    mounted = StaticSessionProvider(
        auth=load_login("basic").auth, credentials=ME, constant={"base_url": API}, reread=lambda: ME, clock=site.clock
    )
    return GatedSessionProvider(gate, mounted, []), gate


def test_what_a_gate_gives_goes_with_what_the_api_wants() -> None:
    site = Site()
    both, _gate = behind(site)
    session = ask(both, site)
    assert both.headers(session, "/jobs") == {"Cookie": "_oauth2_proxy=g0", "Authorization": "Basic bWU6Z2VoZWlt"}


def test_a_gate_that_ended_its_session_costs_the_apis_own_login_nothing() -> None:
    site = Site()
    both, _gate = behind(site)
    session = ask(both, site)
    over = Response(401, from_outside({"content-type": "application/json"}), {}, True, 0.0, 0.0, 0.0)
    assert both.expired(over)
    asked = len(site.asked)
    assert ask(both, site, rejected=session).token.token_id == session.token.token_id  # the mounted secrets, as before
    assert "GET api.example.org/oauth2/start" in site.asked[asked:]


def test_the_login_behind_a_gate_goes_through_it() -> None:
    site = Site()
    gate = site.login("oauth2-proxy", API, prefix="oauth2")
    own = site.login("n8n", API)
    both = GatedSessionProvider(gate, own, [own])
    through: list[str] = []
    answer = site.answer

    def api(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/rest/login":
            through.append(request.headers.get("cookie", ""))
            return httpx.Response(200, json={"data": {"id": "u"}}, headers={"Set-Cookie": "n8n-auth=h.e30.s; Path=/"})
        return answer(request)

    own._steps._client = client_of(API, site.clock, api)
    session = ask(both, site)
    assert through == ["_oauth2_proxy=g0"]
    assert both.headers(session, "/jobs") == {"Cookie": "n8n-auth=h.e30.s; _oauth2_proxy=g0"}


def test_an_api_that_redirects_with_a_new_session_too_is_told_as_such() -> None:
    site = Site()
    login = site.login("oauth2-proxy", API, prefix="oauth2")
    answer = site.answer

    def moved(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "/v2"}) if request.url.path == "/jobs" else answer(request)

    site.answer = moved  # type: ignore[method-assign]
    requests = JobRequests(site.client(API), profiles.load("garminsync"), login, "a", {}, Rights())
    with pytest.raises(StrayAnswer, match="set base_url to the address it redirects to"):
        asyncio.run(
            requests.send(
                "status", Request(path="/jobs"), {}, Safety.IDEMPOTENT, Deadline(site.clock), Observer(site.clock)
            )
        )
    assert len([one for one in site.forms if "password" in one]) == 2  # one login, and one more after the redirect
