"""Logins of their own, with parameters and addresses, and one after another: only what is over is made again."""

import asyncio
import base64
import dataclasses
import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from runner.auth.chain import ChainedSessionProvider
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.engine.logins import end_sessions
from runner.errors import ContractError, LoginRefused, UsageError
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import UserSession
from runner.profile.loading import LOGINS, built_ins, load_login
from runner.state.memory import MemoryStore
from tests.support.login_model import FakeClock, client_of

ME = Credentials("me", "geheim", Seed(b"0123456789"), client_id="runner", client_secret="100%+x")


class Gate:
    """Keycloak and Airflow in small: tokens of 60 s, an exchange that takes only the newest token."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.headers: list[httpx.Headers] = []
        self.grants = 0
        self.refuse_exchange = 0
        first = self._provider(
            "keycloak", "https://sso.example.org", ME, {"params.realm": "sync", "params.scope": "openid"}
        )
        self.first = first
        self.chain = ChainedSessionProvider(
            first, self._provider("airflow-keycloak", "https://af.example.org", Credentials(), {})
        )

    def _provider(
        self, name: str, address: str, credentials: Credentials, constant: dict[str, Any]
    ) -> LoginSessionProvider:
        client = client_of(address, self.clock, self.answer)
        return LoginSessionProvider(
            client=client, auth=load_login(name).auth, base_url=address, credentials=credentials, store=MemoryStore(),
            clock=self.clock, constant=constant,
        )  # fmt: skip

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(request.headers)
        if request.url.host == "af.example.org":
            self.asked.append("exchange")
            assert json.loads(request.content)["assertion"] == f"kc{self.grants}"
            if self.refuse_exchange:
                self.refuse_exchange -= 1
                return httpx.Response(403, json={"detail": "Invalid Keycloak assertion"})
            claims = (
                base64.urlsafe_b64encode(json.dumps({"exp": self.clock.now + 86_400}).encode()).decode().rstrip("=")
            )
            return httpx.Response(201, json={"access_token": f"af.{claims}.{len(self.asked)}"})
        form = parse_qs(request.content.decode())
        self.forms.append(form)
        if request.url.path.endswith("/logout"):
            self.asked.append("logout")
            return httpx.Response(204)
        assert request.url.path == "/realms/sync/protocol/openid-connect/token"
        self.asked.append(form["grant_type"][0])
        self.grants += 1
        body = {"access_token": f"kc{self.grants}", "refresh_token": f"r{self.grants}", "expires_in": 60}
        return httpx.Response(200, json=body)

    def ask(self, rejected: UserSession | None = None) -> UserSession:
        return asyncio.run(self.chain.session(Deadline(self.clock), Observer(self.clock), rejected=rejected))


def test_a_session_of_two_logins_ends_with_the_earlier_of_both_and_is_renewed_without_a_code() -> None:
    gate = Gate()
    session = gate.ask()
    assert session.expires_at == gate.clock.now + 60
    assert gate.chain.headers(session)["Authorization"] == f"Bearer {session.access_token}"
    assert gate.ask() is session
    for _ in range(10):
        gate.clock.now += 55
        gate.ask()
    assert gate.asked == ["password", "exchange"] + ["refresh_token", "exchange"] * 10


def test_only_what_is_over_is_made_again() -> None:
    gate = Gate()
    session = gate.ask()
    own = Response(401, {}, {"detail": "Token Expired"}, True, 0.0, 0.0, 0.0)
    assert gate.chain.expired(own)
    second = gate.ask(rejected=session)
    assert gate.asked == ["password", "exchange", "exchange"]
    within = Response(403, {}, {"detail": "Forbidden"}, True, 0.0, 0.0, 0.0)
    assert gate.chain.expired(within)
    gate.ask(rejected=second)
    assert gate.asked[3:] == ["refresh_token", "exchange"]
    assert not gate.chain.expired(Response(403, {}, {"detail": "other"}, True, 0.0, 0.0, 0.0))


def test_a_refused_exchange_renews_a_kept_session_once() -> None:
    gate = Gate()
    session = gate.ask()
    gate.clock.now += 20
    gate.refuse_exchange = 1
    gate.ask(rejected=session)
    assert gate.asked == ["password", "exchange", "exchange", "refresh_token", "exchange"]


def test_a_refused_exchange_of_a_new_token_costs_no_second_code_and_no_cool_down() -> None:
    gate = Gate()
    gate.refuse_exchange = 9
    with pytest.raises(LoginRefused, match="password and code were right"):
        gate.ask()
    assert gate.asked == ["password", "exchange"]
    assert gate.first.stored.failures == 0


def test_the_client_goes_by_basic_with_its_characters_encoded_first() -> None:
    gate = Gate()
    gate.ask()
    told = gate.headers[0]["authorization"].removeprefix("Basic ")
    assert base64.b64decode(told) == b"runner:100%25%2Bx"


def test_a_user_without_a_seed_sends_no_code() -> None:
    gate = Gate()
    gate.first._mounted.credentials = Credentials("me", "geheim", client_id="runner", client_secret="x")
    gate.ask()
    assert "totp" not in gate.forms[0]
    assert not gate.first.stored.last_step


def test_logout_ends_the_session_at_the_server() -> None:
    gate = Gate()
    gate.ask()
    asyncio.run(gate.chain.revoke(Deadline(gate.clock), Observer(gate.clock)))
    assert gate.asked[-1] == "logout"
    assert gate.forms[-1] == {"refresh_token": ["r1"]}


def test_a_session_is_ended_at_one_server_though_the_other_refuses() -> None:
    gate = Gate()
    gate.ask()
    last = gate.chain.parts[1]

    async def refuse(deadline: Deadline, observer: Observer) -> bool:
        raise ContractError("refused")

    last.revoke = refuse  # type: ignore[method-assign]
    with pytest.raises(ContractError):
        asyncio.run(gate.chain.revoke(Deadline(gate.clock), Observer(gate.clock)))
    assert gate.asked[-1] == "logout"


def test_a_session_that_nothing_keeps_is_ended_once_and_only_where_a_login_began_it() -> None:
    gate = Gate()
    assert not gate.chain.ends
    gate.ask()
    assert [one.ends for one in gate.chain.parts] == [True, False]
    for _ in range(2):
        asyncio.run(end_sessions([gate.chain], gate.clock, Observer(gate.clock)))
    assert gate.asked.count("logout") == 1
    mounted = Gate()
    mounted.first._mounted.credentials = dataclasses.replace(ME, refresh_token="mounted")
    mounted.ask()
    assert mounted.asked == ["refresh_token", "exchange"]
    assert not mounted.chain.ends
    kept = Gate()
    kept.ask()
    kept.first._store.kept = True  # type: ignore[attr-defined]
    assert not kept.chain.ends


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((400, "invalid_grant", "Invalid user credentials"), "credentials"),
        ((400, "invalid_grant", "Account is not fully set up"), "account"),
        ((400, "invalid_grant", "Account disabled"), "account"),
        ((401, "unauthorized_client", "Invalid client or Invalid client credentials"), "client"),
        ((401, "invalid_client", "Invalid client or Invalid client credentials"), "client"),
        ((400, "unauthorized_client", "Client not allowed for direct access grants"), "client"),
        ((400, "invalid_scope", "Invalid scopes: x"), "client"),
        ((400, "not_allowed", "Offline tokens not allowed for the user or client"), "client"),
    ],
)
def test_keycloaks_refusals_are_told_apart_and_shown_in_its_words(answer: tuple[int, str, str], cause: str) -> None:
    gate = Gate()
    status, error, said = answer
    gate.answer = lambda request: httpx.Response(status, json={"error": error, "error_description": said})  # type: ignore[method-assign]
    provider = gate._provider(
        "keycloak", "https://sso.example.org", ME, {"params.realm": "sync", "params.scope": "openid"}
    )
    with pytest.raises(LoginRefused) as caught:
        asyncio.run(provider.session(Deadline(gate.clock), Observer(gate.clock)))
    assert caught.value.cause == cause
    assert said in str(caught.value)
    assert provider.stored.refused_cause == ("" if cause == "client" else cause)


def _keycloak_says(status: int, body: dict[str, str], credentials: Credentials = ME) -> LoginSessionProvider:
    gate = Gate()
    gate.answer = lambda request: httpx.Response(status, json=body)  # type: ignore[method-assign]
    return gate._provider(
        "keycloak", "https://sso.example.org", credentials, {"params.realm": "sync", "params.scope": "openid"}
    )


def test_an_answer_that_the_login_does_not_know_is_told_in_the_servers_words() -> None:
    provider = _keycloak_says(404, {"error": "Realm does not exist"})
    with pytest.raises(ContractError, match=r"response 404 \(shape: .*\): Realm does not exist"):
        asyncio.run(provider.session(Deadline(FakeClock()), Observer(FakeClock())))


def test_a_user_without_a_code_is_not_blocked_by_one_refusal_that_may_mean_a_lock() -> None:
    plain = Credentials("me", "geheim", client_id="runner", client_secret="x")
    provider = _keycloak_says(400, {"error": "invalid_grant", "error_description": "Invalid user credentials"}, plain)
    with pytest.raises(
        LoginRefused, match=r"the username or password was refused .*whether the account is locked"
    ) as caught:
        asyncio.run(provider.session(Deadline(FakeClock()), Observer(FakeClock())))
    assert "totp_seed" not in str(caught.value)
    assert (provider.stored.blocked, provider.stored.failures) == (False, 1)


def test_every_built_in_login_is_valid_and_an_unknown_one_is_named() -> None:
    assert {"keycloak", "airflow-keycloak", "basic", "bearer", "oauth2-client-credentials"} <= set(built_ins(LOGINS))
    for name in built_ins(LOGINS):
        assert load_login(name).description
    with pytest.raises(UsageError, match="login `kc`: neither a built-in login"):
        load_login("kc")
