"""The clock of a server that sends no `Date`, as Keycloak: by its tokens, and by the API beside it."""

import asyncio
import base64
import json
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import LoginRefused
from runner.events.observer import Observer
from runner.http.client import Client
from runner.profile.loading import load_login
from runner.state.memory import MemoryStore
from tests.support.login_model import FakeClock, client_of

SSO, API = "https://sso.example.org", "https://api.example.org"
ME = Credentials("me", "geheim", Seed(b"0123456789"), client_id="c", client_secret="s")


class Servers:
    """Keycloak without a `Date`, and an API with one; both clocks are `ahead` of ours."""

    def __init__(self, ahead: float, *, refuses: bool = False, api: str = API) -> None:
        self.clock, self.store, self.ahead, self.refuses = FakeClock(), MemoryStore(), ahead, refuses
        self.asked: list[httpx.Request] = []
        self.dated = False
        self.api = api
        self.login = LoginSessionProvider(
            client=self._client(SSO), auth=load_login("keycloak").auth, base_url=SSO, credentials=ME, store=self.store,
            clock=self.clock, constant={"params.realm": "r", "params.scope": "openid"}, named={"api": self._client(api)},
        )  # fmt: skip

    def _client(self, address: str) -> Client:
        return client_of(address, self.clock, self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        date = {"Date": formatdate(self.clock.now + self.ahead, usegmt=True)}
        if request.url.host != "sso.example.org":
            return httpx.Response(401, headers=date)
        headers = date if self.dated else {}
        if self.refuses:
            said = {"error": "invalid_grant", "error_description": "Invalid user credentials"}
            return httpx.Response(400, json=said, headers=headers)
        claims = base64.urlsafe_b64encode(json.dumps({"iat": int(self.clock.now + self.ahead)}).encode()).decode()
        return httpx.Response(200, json={"access_token": f"h.{claims}.s", "expires_in": 60}, headers=headers)

    def ask(self) -> Any:
        return asyncio.run(self.login.session(Deadline(self.clock), Observer(self.clock)))


@pytest.mark.parametrize(("ahead", "skew"), [(0.0, 0.0), (25.0, 25.0), (-25.0, -25.0), (-300.0, 0.0)])
def test_a_token_of_a_login_with_a_code_tells_the_clock_unless_it_was_made_before(ahead: float, skew: float) -> None:
    servers = Servers(ahead)
    servers.ask()
    assert servers.store.state.skew == pytest.approx(skew, abs=1.0)


def test_a_date_counts_before_a_token() -> None:
    servers = Servers(10.0)
    servers.dated = True
    servers.ask()
    assert servers.store.state.skew == pytest.approx(10.0, abs=1.0)


@pytest.mark.parametrize(("ahead", "told"), [(95.0, "behind the API's"), (-95.0, "ahead of the API's")])
def test_a_refusal_without_a_date_asks_the_api_for_its_time_and_sends_no_password_again(
    ahead: float, told: str
) -> None:
    servers = Servers(ahead, refuses=True)
    with pytest.raises(LoginRefused, match=r"This machine's clock is 9[456] s " + told):
        servers.ask()
    assert [one.url.host for one in servers.asked] == ["sso.example.org", "api.example.org"]
    assert "authorization" not in servers.asked[1].headers
    assert not servers.asked[1].content
    assert servers.store.state.skew == pytest.approx(ahead, abs=1.0)


def test_a_clock_that_is_right_is_not_blamed() -> None:
    servers = Servers(0.0, refuses=True)
    with pytest.raises(LoginRefused) as caught:
        servers.ask()
    assert "clock is" not in str(caught.value)


def test_a_date_over_plain_http_from_another_machine_is_not_believed() -> None:
    servers = Servers(95.0, refuses=True, api="http://api.example.org")
    with pytest.raises(LoginRefused) as caught:
        servers.ask()
    assert "clock is" not in str(caught.value)
    assert servers.store.state.skew == 0.0
