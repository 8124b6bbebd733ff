"""What a proxy, a firewall or a maintenance answers in the API's place, at each login that is built in: never a verdict."""

from typing import Any

import httpx
import pytest

from runner.auth.credentials import Credentials
from runner.auth.totp import code
from runner.errors import Unreachable
from runner.profile.loading import load_login
from tests.support.stores import load
from tests.unit.auth.test_login_flow import CODE_WANTED, NOW, SEED, STARTED, STEP, TOKENS, CommandLine, kept

ME = Credentials(
    username="me", password="geheim", seed=SEED, client_id="app", client_secret="s", api_token="t", client_key="k"
)
PARAMS = {"params.realm": "r", "params.client_id": "page", "params.redirect_uri": "http://127.0.0.1/callback",
          "params.scope": "openid", "params.prefix": "oauth2", "params.path": "login", "params.token_path": "token", "params.flow": "f",
          "params.username_field": "username", "params.password_field": "password", "params.code_field": "otp",
          "base_url": "https://sync.example.org"}  # fmt: skip
HTML = {"Content-Type": "text/html; charset=utf-8"}
SIGN_IN = httpx.Response(
    200,
    text="<html class='login-pf'><form method='post' action='/in'><input name='username'><input name='password'></form>",
    headers=HTML,
)
CODE_PAGE = httpx.Response(200, text="<form method='post' action='/in'><input name='otp'></form>", headers=HTML)
OK = httpx.Response(200, json={"status": "OK", "data": {"has_totp": True}})
BEFORE: dict[str, list[httpx.Response]] = {  # what the real server answers before the maintenance begins
    "n8n": [], "directus": [], "home-assistant": [], "allauth": [], "keycloak": [], "oauth2-client-credentials": [],
    "keycloak-browser": [], "keycloak-browser, password": [SIGN_IN], "keycloak-browser, code": [SIGN_IN, CODE_PAGE],
    "oauth2-proxy": [], "oauth2-proxy, password": [SIGN_IN], "oauth2-proxy, code": [SIGN_IN, CODE_PAGE],
    "form": [], "form, password": [SIGN_IN], "form, code": [SIGN_IN, CODE_PAGE],
    "authelia": [], "authelia, level": [OK], "authelia, code": [OK, OK], "authentik": [],
}  # fmt: skip
PAGES = {
    "maintenance": httpx.Response(200, text="<h1>Down for maintenance</h1>", headers=HTML),
    "no route, as nginx says it": httpx.Response(404, text="<h1>404 Not Found</h1>", headers=HTML),
    "no route, as Traefik says it": httpx.Response(404, text="404 page not found\n", headers={"Content-Type": "text/plain"}),
    "no route, as Envoy says it": httpx.Response(404),
}  # fmt: skip


def meets(login: str, page: httpx.Response) -> CommandLine:
    """A login whose server answers as it does, and then that."""
    profile = load_login(login.partition(",")[0])
    cli = CommandLine(profile=profile, credentials=ME, constant=PARAMS)
    answers = [*BEFORE[login]]
    seen: list[str] = []

    def answering(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        one = answers.pop(0) if answers else page
        return httpx.Response(one.status_code, headers=one.headers, content=one.content)

    cli.answering = answering
    cli.sent = seen  # type: ignore[assignment]
    return cli


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("login", BEFORE)
def test_an_answer_of_a_proxy_is_no_refusal_and_no_finished_login(login: str, page: str) -> None:
    cli = meets(login, PAGES[page])
    with pytest.raises(Unreachable, match="not this API's response"):
        cli.ask()
    assert len(cli.sent) == len(BEFORE[login]) + 1
    assert (cli.stored.failures, cli.stored.session, cli.stored.cooldown_until) == (0, None, 0.0)


def test_a_sign_in_page_that_sets_a_cookie_is_a_finished_login() -> None:
    home = httpx.Response(200, text="<h1>Welcome</h1>", headers={**HTML, "Set-Cookie": "session=s; Path=/"})
    assert meets("form, password", home).ask().carried["cookies"]


def test_a_refusal_of_keycloaks_own_page_is_a_refusal() -> None:
    error = httpx.Response(400, text="<html class='login-pf'><p id='kc-error-message'>no</p></html>", headers=HTML)
    with pytest.raises(Exception, match="the client was refused"):
        meets("keycloak-browser", error).ask()


def test_a_code_that_meets_a_503_with_retry_after_is_not_used_up() -> None:
    later: Any = (503, {}, {"Retry-After": "3"})
    cli = CommandLine(CODE_WANTED, later, later, later, (200, TOKENS), store=kept(session=None, since=1.0))
    cli.ask()
    assert cli.codes[0] == code(SEED, STEP)
    assert len(cli.codes) == 4
    assert (cli.stored.failures, cli.stored.doubts) == (0, 0)


def test_a_code_that_meets_a_503_without_retry_after_may_have_been_used() -> None:
    cli = CommandLine(CODE_WANTED, (503, {}), (200, TOKENS), store=kept(session=None, since=1.0))
    cli.ask()
    assert len(set(cli.codes)) == 2


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("alive", [True, False])
def test_a_refresh_that_a_proxy_answers_keeps_the_session_and_its_token(page: str, alive: bool) -> None:
    store = kept()
    cli = CommandLine(store=store)
    cli.clock.now = NOW + (895 if alive else 950)
    asked: list[str] = []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        return httpx.Response(PAGES[page].status_code, headers=PAGES[page].headers, content=PAGES[page].content)

    cli.answering = answering
    if alive:
        assert cli.ask() == STARTED
    else:  # a login may get through; its page is none either
        with pytest.raises(Unreachable, match="not this API's response"):
            cli.ask()
    assert (set(asked), load(store).session) == ({"refresh"} if alive else {"refresh", "login"}, STARTED)


def test_a_refresh_that_a_proxy_answers_for_ever_is_followed_by_a_login() -> None:
    gone: Any = (404, "Not Found", {"content-type": "text/plain"})
    cli = CommandLine(gone, CODE_WANTED, (200, TOKENS), store=kept())
    cli.clock.now = NOW + 950
    cli.ask()
    assert [name for name, _body in cli.sent] == ["refresh", "login", "login"]
