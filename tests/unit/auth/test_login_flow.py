"""Login, refresh and codes, step by step against scripted answers: what is sent, said, learned and kept, to the letter."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from runner import profile as profiles
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.static import StaticSessionProvider
from runner.auth.totp import Seed, code
from runner.clock import Deadline
from runner.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceeded,
    LoginRefused,
    RunnerError,
    SecretError,
    StateError,
    Unreachable,
)
from runner.events import events
from runner.events.observer import Event, Observer
from runner.http.client import Client, tls_context
from runner.http.messages import Response
from runner.http.retry import Policy
from runner.models import UserSession
from runner.profile.models import Profile
from runner.state.interface import LoadedState
from runner.state.memory import MemoryStore
from runner.state.record import AccountState
from tests.support.login_model import FakeClock
from tests.support.sessions import session

NOW = 1_800_000_010.0  # ten seconds into a time step
STEP = 60_000_000
SEED = Seed(b"0123456789")
ME = Credentials("me", "geheim", SEED)
TLS = tls_context("http://localhost", None)
CODE_WANTED = (401, {"mfa_required": True, "mfa_type": "totp", "mfa_challenge_id": "c1"})
TOKENS: dict[str, Any] = {
    "access_token": "access", "refresh_token": "again", "expires_in": 900, "token_type": "Bearer", "scope": "sync",
    "session_id": "s1", "user": {"id": "u1"},
}  # fmt: skip
STARTED = session(
    "access", refresh_token="again", expires_at=NOW + 900, created_at=NOW, last_used_at=NOW, session_id="s1",
    user_id="u1", scope="sync", mfa_verified=True, expires_in=900.0,
)  # fmt: skip
PASSWORD_REFUSED = "login: the username or password was refused (401); check the secrets `username` and `password`"
CODE_REFUSED = (
    "login: the one-time code was refused (401); check the secret `totp_seed` (is it this account's, are digits, period "
    "and algorithm right?) and the clocks of both machines"
)
LOCKED = "login: the account is locked or disabled at the API (423); unlock it or wait"
NEEDS_A_PERSON = (
    "login: the API requires a second factor that needs a person (push, SMS or e-mail); set up an authenticator "
    "app for the account and mount its seed as the secret `totp_seed`"
)
LOST = httpx.ReadError("reset")
UNSENT = httpx.ConnectError("no route")


class KeptStore(MemoryStore):
    """One that the next run finds, as a directory is."""

    kept = True


class CommandLine:
    """One process's keeper, with answers that come in their order; time passes where one says so."""

    def __init__(
        self, *answers: Any, base_url: str = "https://sync.example.org", store: Any = None, **more: Any
    ) -> None:
        self.clock = FakeClock()
        self.clock.now = NOW
        self.store: MemoryStore = store or KeptStore()
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.events: list[Event] = []
        self.learned: list[str] = []
        self.answering = self._answer
        client = Client(
            base_url, clock=self.clock, policy=Policy(5, 0.0, 0.0), request_timeout=30.0, tls=TLS,
            transport=httpx.MockTransport(lambda request: self.answering(request)),
        )  # fmt: skip
        profile: Profile = more.pop("profile", None) or profiles.load("garminsync")
        self.provider = LoginSessionProvider(
            client=client, auth=profile.auth, base_url=base_url, credentials=more.pop("credentials", ME), store=self.store,
            clock=self.clock, add_secret=self.learned.append, **more,
        )  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.url.path.rpartition("/")[2], json.loads(request.content)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body, *more = answer
        headers = {"Date": formatdate(self.clock.now, usegmt=True)}
        for one in more:
            headers |= one
        self.clock.now += float(headers.pop("took", 0))
        return httpx.Response(status, json=body, headers={k: v for k, v in headers.items() if v is not None})

    @property
    def stored(self) -> AccountState:
        return self.store.state

    def ask(self, within: float | None = None, rejected: UserSession | None = None) -> UserSession:
        deadline = Deadline.after(self.clock, within, "the run's deadline")
        observer = Observer(self.clock, [lambda record: self.events.append(record.event)])
        return asyncio.run(self.provider.session(deadline, observer, rejected=rejected))

    def fails(self, kind: type[RunnerError], told: str, **options: Any) -> None:
        with pytest.raises(kind) as caught:
            self.ask(**options)
        assert str(caught.value) == told

    def told(self) -> list[Event]:
        return [event for event in self.events if not isinstance(event, events.RequestDone | events.RetryScheduled)]

    @property
    def codes(self) -> list[str]:
        return [body["mfa_code"] for _, body in self.sent if "mfa_code" in body]


def kept(**more: Any) -> MemoryStore:
    """A store that holds a session, and what more."""
    return KeptStore(replace(AccountState(STARTED), **more))


def test_a_login_sends_the_password_then_the_code_and_keeps_the_whole_session() -> None:
    cli = CommandLine(CODE_WANTED, (200, TOKENS))
    assert cli.ask() == STARTED
    first = {"username": "me", "password": "geheim"}
    made = code(SEED, STEP)
    assert cli.sent == [("login", first), ("login", {**first, "mfa_code": made, "mfa_challenge_id": "c1"})]
    assert cli.told() == [events.LoggedIn("login", True, 0.0, 900.0)]
    assert cli.learned == [made, "access", "again"]
    made_by = cli.stored.session_login
    assert made_by
    assert cli.stored == AccountState(STARTED, session_login=made_by, last_step=STEP, since=NOW)
    assert cli.provider.stored == cli.stored
    assert cli.ask() is cli.ask()
    assert len(cli.sent) == 2


def test_without_a_second_factor_the_session_says_so_and_what_the_api_leaves_out_is_nothing() -> None:
    cli = CommandLine((200, {"access_token": "access"}, {"took": 3}))
    assert cli.ask() == session("access", created_at=NOW, last_used_at=NOW)
    assert cli.told() == [events.LoggedIn("login", False, 3.0, None)]
    assert cli.stored.last_step is None


def test_a_lifetime_counts_from_the_sending() -> None:
    assert CommandLine((200, TOKENS, {"took": 4})).ask().expires_at == NOW + 900


@pytest.mark.parametrize(("remaining", "requests"), [(10.1, 0), (10.0, 1)])
def test_a_kept_session_is_used_until_ten_seconds_before_its_end(remaining: float, requests: int) -> None:
    cli = CommandLine((200, TOKENS), store=kept())
    cli.clock.now = NOW + 900 - remaining
    cli.ask()
    assert len(cli.sent) == requests
    assert cli.learned[:2] == ["access", "again"]
    if not requests:
        assert cli.told() == [events.SessionReused(10.1)]


def test_a_session_without_an_end_is_used_and_told_as_such() -> None:
    cli = CommandLine(store=KeptStore())
    cli.store.state = AccountState(session("access"))
    assert cli.ask() == session("access")
    assert cli.told() == [events.SessionReused(None)]
    assert cli.learned == ["access"]


def test_a_refresh_renews_the_session_and_marks_the_token_as_used() -> None:
    cli = CommandLine(
        (200, {"access_token": "new", "expires_in": 60}, {"took": 2}), store=kept(failures=2, cooldown_until=9.0)
    )
    before = cli.stored.session
    renewed = cli.ask(rejected=STARTED)
    assert before is not None
    assert renewed == session(
        "new", refresh_token="again", expires_at=NOW + 60, expires_in=60.0, created_at=NOW, last_used_at=NOW,
        mfa_verified=True, session_id=before.session_id, user_id=before.user_id, scope=before.token.scope,
    )  # fmt: skip
    assert cli.sent == [("refresh", {"refresh_token": "again"})]
    assert cli.told() == [events.LoggedIn("refresh", True, 2.0, 58.0)]
    used = hashlib.sha256(b"again").hexdigest()
    assert cli.stored == AccountState(renewed, session_login=cli.stored.session_login, used_refresh_token=used)
    assert cli.learned == ["access", "again", "new", "again"]


def test_the_refresh_token_is_out_of_the_store_before_it_is_sent() -> None:
    seen: list[AccountState] = []
    cli = CommandLine((200, TOKENS), store=kept())
    answer = cli.answering

    def poll(request: httpx.Request) -> httpx.Response:
        seen.append(cli.stored)
        return answer(request)

    cli.answering = poll
    cli.ask(rejected=STARTED)
    assert seen == [AccountState(used_refresh_token=hashlib.sha256(b"again").hexdigest())]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {}), "the API answered 401"),
        ((500, {}), "the API answered 500"),
        ((200, {}), "refresh: no access token at `access_token` (shape: {})"),
        (LOST, "refresh: the connection broke (ReadError)"),
    ],
)
def test_a_refresh_that_brings_nothing_is_sent_once_and_a_login_follows(answer: Any, told: str) -> None:
    cli = CommandLine(answer, (200, TOKENS), store=kept())
    cli.ask(rejected=STARTED)
    assert [endpoint for endpoint, _ in cli.sent] == ["refresh", "login"]
    assert cli.told()[0] == events.LoginFailed("refresh", told)


@pytest.mark.parametrize("answer", [UNSENT, (429, {}), (425, {})])
def test_a_refresh_that_was_not_looked_at_is_sent_again(answer: Any) -> None:
    cli = CommandLine(answer, (200, TOKENS), store=kept())
    cli.ask(rejected=STARTED)
    assert [endpoint for endpoint, _ in cli.sent] == ["refresh", "refresh"]


def test_a_refresh_that_never_left_keeps_its_token_for_the_next_run() -> None:
    cli = CommandLine(*[UNSENT] * 5, store=kept())
    told = "refresh: cannot connect to sync.example.org (ConnectError)"
    cli.fails(Unreachable, told, rejected=STARTED)
    assert cli.stored == AccountState(STARTED)
    assert cli.told() == [events.LoginFailed("refresh", told)]


def test_a_mounted_refresh_token_is_used_once() -> None:
    mounted = Credentials("me", "geheim", SEED, "mounted")
    cli = CommandLine((200, TOKENS), credentials=mounted)
    assert cli.ask().token.mfa_verified is False
    assert cli.sent == [("refresh", {"refresh_token": "mounted"})]
    used = KeptStore()
    used.state = AccountState(used_refresh_token=hashlib.sha256(b"mounted").hexdigest())
    other = CommandLine((200, TOKENS), credentials=mounted, store=used)
    other.ask()
    assert [endpoint for endpoint, _ in other.sent] == ["login"]


def test_a_rejected_session_is_not_handed_out_again_but_one_that_came_since_is() -> None:
    cli = CommandLine(store=kept())
    assert cli.ask(rejected=session("an older one")) == STARTED
    assert cli.sent == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([(401, {})], PASSWORD_REFUSED),
        ([(403, {})], PASSWORD_REFUSED.replace("401", "403")),
        ([CODE_WANTED, (401, {}), (401, {})], CODE_REFUSED),
        ([(423, {})], LOCKED),
        ([CODE_WANTED, (423, {})], LOCKED),
        ([(401, {"mfa_required": True, "mfa_type": "sms"})], NEEDS_A_PERSON),
    ],
)
def test_a_refused_login_begins_a_cool_down_and_is_not_tried_again(answers: list[Any], told: str) -> None:
    cli = CommandLine(*answers, store=kept(session=None))
    cli.fails(LoginRefused, told)
    cli.fails(LoginRefused, told)
    assert cli.answers == []
    assert cli.told()[-2:] == [events.LoginFailed("login", told), events.CooldownStarted(300.0, 1)]
    assert (cli.stored.failures, cli.stored.cooldown_until) == (1, cli.clock.now + 300)


@pytest.mark.parametrize(("before", "length"), [(1, 600), (2, 1200), (6, 19_200), (7, 21_600), (50, 21_600)])
def test_the_cool_down_doubles_up_to_six_hours_and_drops_the_session(before: int, length: float) -> None:
    cli = CommandLine((401, {}), (401, {}), store=kept(failures=before))
    cli.fails(LoginRefused, PASSWORD_REFUSED, rejected=STARTED)
    assert cli.told()[-1] == events.CooldownStarted(length, before + 1)
    assert cli.stored.session is None
    assert (cli.stored.failures, cli.stored.cooldown_until) == (before + 1, NOW + length)


def test_within_the_cool_down_nothing_is_sent_and_the_way_out_is_named() -> None:
    told = (
        "no login is tried for another 61 s, after 3 refused logins in a row, so that the account is not locked; correct the "
        "credentials, then run `sync-runner login --force`"
    )
    cli = CommandLine(store=kept(session=None, failures=3, cooldown_until=NOW + 61))
    cli.fails(LoginRefused, told)
    assert cli.sent == []
    later = CommandLine((200, TOKENS), store=kept(session=None, failures=3, cooldown_until=NOW))
    later.ask()
    assert (later.stored.failures, later.stored.cooldown_until) == (0, 0.0)


def test_forgetting_drops_the_session_and_the_cool_down_only_where_asked() -> None:
    for cooldown, remaining in ((False, (3, NOW + 61)), (True, (0, 0.0))):
        cli = CommandLine((200, TOKENS), store=kept(failures=3, cooldown_until=NOW + 61, last_step=5))
        cli.ask()
        asyncio.run(cli.provider.forget(Deadline(cli.clock), cooldown=cooldown))
        assert cli.stored.session is None and cli.stored.last_step == 5
        assert (cli.stored.failures, cli.stored.cooldown_until) == remaining
        if cooldown:
            cli.ask()
            assert [endpoint for endpoint, _ in cli.sent] == ["login"]


def test_rotated_secrets_are_tried_once_after_a_refusal() -> None:
    fresh = Credentials("me", "neu", SEED)
    cli = CommandLine((401, {}), (200, TOKENS), reread=lambda: fresh)
    cli.ask()
    assert [body["password"] for _, body in cli.sent] == ["geheim", "neu"]
    assert cli.told() == [events.SecretsRotated(), events.LoggedIn("login", False, 2.0, 900.0)]


@pytest.mark.parametrize("fresh", [ME, Credentials("other", "neu", SEED), SecretError("/run/secrets/password: empty")])
def test_secrets_that_are_the_same_or_another_users_or_unreadable_are_not_tried(fresh: Any) -> None:
    reads: list[int] = []

    def reread() -> Credentials:
        reads.append(1)
        if isinstance(fresh, Exception):
            raise fresh
        return fresh  # type: ignore[no-any-return]

    cli = CommandLine((401, {}), reread=reread)
    cli.fails(LoginRefused, PASSWORD_REFUSED)
    told = [events.LoginFailed("login", PASSWORD_REFUSED), events.CooldownStarted(300.0, 1)]
    unreadable = [events.LoginFailed("login", "/run/secrets/password: empty")]
    assert cli.told() == (unreadable if isinstance(fresh, Exception) else []) + told
    assert len(reads) == 1


def test_rotated_secrets_that_are_refused_too_begin_the_cool_down() -> None:
    cli = CommandLine((401, {}), (401, {}), reread=lambda: Credentials("me", "neu", SEED))
    cli.fails(LoginRefused, PASSWORD_REFUSED)
    assert cli.told() == [
        events.SecretsRotated(),
        events.LoginFailed("login", PASSWORD_REFUSED),
        events.CooldownStarted(300.0, 1),
    ]


def test_a_missing_seed_is_named() -> None:
    told = (
        "login: the API requires a one-time code; mount the account's TOTP seed (Base32 or otpauth:// URI) as the secret "
        "`totp_seed`"
    )
    cli = CommandLine(CODE_WANTED, credentials=Credentials("me", "geheim"))
    cli.fails(SecretError, told)
    cli.fails(SecretError, told)
    assert len(cli.sent) == 1
    assert cli.stored.failures == 0


def test_a_third_code_is_not_sent_in_one_run() -> None:
    told = (
        "login: 2 one-time codes were sent in this run already; more could lock the account. Does the API revoke its "
        "tokens? See the log"
    )
    answers = [CODE_WANTED, (200, {**TOKENS, "refresh_token": None})] * 2
    cli = CommandLine(*answers, CODE_WANTED)
    for _ in range(2):
        cli.ask()
        cli.clock.now += 60
        cli.store.state = replace(cli.stored, session=None)
        cli.provider._session = None
    cli.fails(AuthenticationError, told)
    assert len(cli.codes) == 2


def test_a_used_step_is_waited_out_and_told() -> None:
    cli = CommandLine(CODE_WANTED, (200, TOKENS), store=kept(session=None, last_step=STEP))
    cli.ask()
    assert cli.codes == [code(SEED, STEP + 1)]
    assert cli.told()[0] == events.CodeWait(20.0, "used")
    assert cli.clock.now == NOW + 20
    assert cli.stored.last_step == STEP + 1


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    cli = CommandLine(CODE_WANTED, store=kept(session=None, last_step=STEP))
    told = "login: the next one-time code is due in 20 s, but the run's deadline ends in 20 s"
    cli.fails(DeadlineExceeded, told, within=20.0)
    assert cli.clock.now == NOW
    assert cli.codes == []


def test_after_a_lost_record_every_step_up_to_its_writing_counts_as_used() -> None:
    for assumed, last, skew, expected in (
        (NOW, None, 0.0, STEP + 1),
        (NOW - 30, None, 0.0, STEP),
        (NOW - 30, STEP, 0.0, STEP + 1),
        (NOW - 30, None, 60.0, STEP + 2),
    ):
        cli = CommandLine(
            (*CODE_WANTED, {"Date": None}),
            (200, TOKENS),
            store=kept(session=None, last_step=last, assume_used_until=assumed, skew=skew),
        )
        cli.ask()
        assert cli.codes == [code(SEED, expected)], (assumed, last, skew)


@pytest.mark.parametrize("answer", [UNSENT, (429, {}), (425, {})])
def test_a_code_that_was_not_looked_at_is_sent_again(answer: Any) -> None:
    cli = CommandLine(CODE_WANTED, answer, answer, answer, (200, TOKENS))
    cli.ask()
    assert set(cli.codes) == {code(SEED, STEP)}
    assert cli.stored.last_step == STEP
    assert cli.clock.now == NOW + (0 if answer is UNSENT else 6)  # two seconds after each that was turned away


@pytest.mark.parametrize("answer", [LOST, (503, {}), (500, {})])
def test_a_code_that_may_have_been_looked_at_is_not_sent_again_the_next_one_is(answer: Any) -> None:
    cli = CommandLine(CODE_WANTED, answer, (200, TOKENS))
    cli.ask()
    assert cli.codes == [code(SEED, STEP), code(SEED, STEP + 1)]
    last = CommandLine(CODE_WANTED, answer, answer)
    with pytest.raises(Unreachable):
        last.ask()
    assert len(last.codes) == 2
    assert last.stored.failures == 0


@pytest.mark.parametrize(
    ("answer", "tries", "told"),
    [
        (LOST, 1, "login: the connection broke (ReadError)"),
        ((500, {}), 1, "login: the API answered 500"),
        ((503, {}), 4, "login: the API answered 503"),
        (UNSENT, 5, "login: cannot connect to sync.example.org (ConnectError)"),
    ],
)
def test_a_password_that_may_have_been_refused_is_not_sent_again_in_the_run(answer: Any, tries: int, told: str) -> None:
    cli = CommandLine(*[answer] * 5)
    cli.fails(Unreachable, told)
    assert len(cli.sent) == tries
    assert cli.told() == [events.LoginFailed("login", told)]
    assert (cli.stored.doubts, cli.stored.failures) == (1 if tries == 1 else 0, 0)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((418, {"a": "geheim"}), "login: no rule of the profile matches the response 418 (shape: {a: text})"),
        ((200, {"a": 1}), "login: no access token at `access_token` (shape: {a: number})"),
    ],
)
def test_what_the_profile_has_no_meaning_for_is_told_by_its_shape(answer: Any, told: str) -> None:
    CommandLine(answer).fails(ContractError, told)


def test_a_login_in_a_circle_ends() -> None:
    profile = profiles.load("garminsync")
    first = profile.auth.steps["password"]
    round_and_round = first.model_copy(update={"answers": [first.answers[0].model_copy(update={"then": "password"})]})
    profile = profile.model_copy(
        update={"auth": profile.auth.model_copy(update={"steps": {"password": round_and_round}})}
    )
    cli = CommandLine(*[(200, {})] * 9, profile=profile)
    cli.fails(
        ContractError, "login: the login steps repeat without end; check where the profile's answers lead (`then`)"
    )
    assert len(cli.sent) == 4


@pytest.mark.parametrize(
    ("ahead", "took", "skew"),
    [
        (0.0, 0.0, 0.0),
        (1.4, 0.0, 0.0),
        (-600.0, 0.0, -599.5),
        (600.0, 0.0, 600.5),
        (2.0, 0.0, 2.5),
        (600.0, 10.0, 595.5),
        (3599.0, 0.0, 3599.5),
        (3600.0, 0.0, 0.0),
        (-3601.0, 0.0, 0.0),
    ],
)
def test_the_servers_clock_is_measured_against_the_middle_of_the_exchange(
    ahead: float, took: float, skew: float
) -> None:
    cli = CommandLine((200, TOKENS, {"Date": formatdate(NOW + ahead, usegmt=True), "took": took}))
    cli.ask()
    assert cli.stored.skew == skew
    assert [event for event in cli.told() if isinstance(event, events.ClockSkew)] == [events.ClockSkew(skew)][
        : bool(skew)
    ]


@pytest.mark.parametrize(
    ("base_url", "more", "trusted"),
    [
        ("https://sync.example.org", {}, True),
        ("http://127.0.0.1:1", {}, True),
        ("http://sync.example.org", {}, False),
        ("https://sync.example.org", {"Age": "0"}, False),
        ("https://sync.example.org", {"Date": None}, False),
        ("https://sync.example.org", {"Date": "nonsense"}, False),
    ],
)
def test_a_date_is_believed_over_tls_or_from_this_machine_and_not_from_a_cache(
    base_url: str, more: dict[str, Any], trusted: bool
) -> None:
    cli = CommandLine((200, TOKENS, {"Date": formatdate(NOW + 60, usegmt=True), **more}), base_url=base_url)
    cli.ask()
    assert cli.stored.skew == (60.5 if trusted else 0.0)


@pytest.mark.parametrize(("known", "after"), [(60.0, 60.0), (59.5, 60.5), (61.4, 61.4), (61.5, 60.5)])
def test_a_skew_is_kept_where_it_changed_by_a_second(known: float, after: float) -> None:
    cli = CommandLine((200, TOKENS, {"Date": formatdate(NOW + 60, usegmt=True)}), store=kept(session=None, skew=known))
    cli.ask()
    assert cli.stored.skew == after


def test_a_code_is_made_for_the_servers_clock() -> None:
    date = {"Date": formatdate(NOW + 600, usegmt=True)}
    cli = CommandLine((*CODE_WANTED, date), (200, TOKENS, date))
    cli.ask()
    assert cli.codes == [code(SEED, STEP + 20)]


def test_a_code_refused_because_of_a_clock_that_proves_wrong_is_followed_by_one_more() -> None:
    date = {"Date": formatdate(NOW + 600, usegmt=True)}
    cli = CommandLine((*CODE_WANTED, {"Date": None}), (401, {}, date), (200, TOKENS, date))
    cli.ask()
    assert cli.codes == [code(SEED, STEP), code(SEED, STEP + 20)]
    wrong = CommandLine((*CODE_WANTED, {"Date": None}), (401, {}, date), (401, {}, date))
    wrong.fails(LoginRefused, CODE_REFUSED)
    small = CommandLine(
        (*CODE_WANTED, {"Date": None}),
        (401, {}, {"Date": formatdate(NOW + 1, usegmt=True)}),
        store=kept(session=None, since=1.0),
    )
    small.fails(LoginRefused, CODE_REFUSED)


def test_the_session_goes_into_the_headers_and_a_401_means_that_it_ended() -> None:
    cli = CommandLine()
    assert cli.provider.headers(STARTED) == {"Authorization": "Bearer access"}
    for status, ended in ((401, True), (403, False), (200, False)):
        assert cli.provider.expired(_with_status(status)) is ended


def _with_status(status: int) -> Response:
    return Response(status, {}, None, False, NOW, NOW, 0.0)


def test_tasks_and_processes_that_ask_at_once_get_one_login() -> None:
    cli = CommandLine(CODE_WANTED, (200, TOKENS))

    async def all_at_once() -> list[UserSession]:
        observer, deadline = Observer(cli.clock), Deadline(cli.clock)
        return await asyncio.gather(*(cli.provider.session(deadline, observer) for _ in range(5)))

    assert asyncio.run(all_at_once()) == [STARTED] * 5
    assert len(cli.sent) == 2


def _static(token: str, *later: Any) -> tuple[StaticSessionProvider, list[Event]]:
    told: list[Event] = []
    auth = profiles.load("awx").auth
    fresh = list(later)

    def reread() -> Credentials:
        one = fresh.pop(0)
        if isinstance(one, Exception):
            raise one
        return Credentials(api_token=one)

    return StaticSessionProvider(
        auth=auth, credentials=Credentials(api_token=token), constant={"account": "default"}, reread=reread
    ), told


def _of_headers(headers: dict[str, str], secrets: tuple[str, ...], credentials: Credentials) -> StaticSessionProvider:
    auth = profiles.load("awx").auth.model_copy(update={"headers": headers, "secrets": secrets})
    return StaticSessionProvider(
        auth=auth, credentials=credentials, constant={"account": "second"}, reread=lambda: credentials
    )


def _ask(provider: StaticSessionProvider, told: list[Event], rejected: UserSession | None = None) -> UserSession:
    clock = FakeClock()
    observer = Observer(clock, [lambda record: told.append(record.event)])
    return asyncio.run(provider.session(Deadline(clock), observer, rejected=rejected))


def test_mounted_secrets_go_with_each_request_and_are_read_again_once_after_a_refusal() -> None:
    provider, told = _static("old", "new")
    first = _ask(provider, told)
    assert "old" not in first.access_token
    assert provider.headers(first) == {"Authorization": "Bearer old"}
    assert _ask(provider, told) == first
    second = _ask(provider, told, rejected=first)
    assert second != first
    assert provider.headers(second) == {"Authorization": "Bearer new"}
    assert told == [events.SecretsRotated()]
    assert _ask(provider, told, rejected=first) == second
    refused = "login: the API refuses the mounted secret; check the secret `api_token`"
    with pytest.raises(LoginRefused) as caught:
        _ask(provider, told, rejected=second)
    assert str(caught.value) == refused
    assert provider.stored == AccountState()
    for status, ended in ((401, True), (500, False)):
        assert provider.expired(_with_status(status)) is ended


@pytest.mark.parametrize("later", ["old", SecretError("/run/secrets/api_token: empty")])
def test_mounted_secrets_that_did_not_change_or_can_not_be_read_are_refused(later: Any) -> None:
    provider, told = _static("old", later)
    with pytest.raises(LoginRefused, match="check the secret `api_token`"):
        _ask(provider, told, rejected=_ask(provider, told))
    assert told == ([] if later == "old" else [events.LoginFailed("login", "/run/secrets/api_token: empty")])


def test_the_headers_may_name_the_account() -> None:
    provider = _of_headers(
        {"X-Tenant": "${account}", "X-Key": "${api_token}"}, ("api_token",), Credentials(api_token="k")
    )
    assert provider.headers(_ask(provider, [])) == {"X-Tenant": "second", "X-Key": "k"}
    assert _of_headers({}, (), Credentials()).headers(session("")) == {}


@pytest.mark.parametrize(
    ("secrets", "credentials", "named"),
    [
        (("username", "password"), Credentials("me", "geheim"), "`username`, `password`"),
        ((), Credentials(), "(there is none)"),
    ],
)
def test_a_refusal_of_what_is_mounted_names_every_secret(
    secrets: tuple[str, ...], credentials: Credentials, named: str
) -> None:
    provider = _of_headers({}, secrets, credentials)
    with pytest.raises(LoginRefused) as caught:
        _ask(provider, [], rejected=_ask(provider, []))
    assert str(caught.value) == f"login: the API refuses the mounted secret; check the secret {named}"


class _FailingStore(KeptStore):
    """A store that takes what is kept before a code leaves, and fails when the lock is given back."""

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:
        async with super().hold(deadline) as held:
            yield held
        raise StateError("secret syncs/sessions: the cluster's API answered 404")


def test_a_store_that_fails_at_the_end_of_a_login_costs_the_run_no_session() -> None:
    cli = CommandLine(CODE_WANTED, (200, TOKENS), store=_FailingStore())
    assert cli.ask() == STARTED
    told = "the session was not stored: secret syncs/sessions: the cluster's API answered 404"
    assert events.StoreProblem(told) in cli.told()
    assert cli.ask() == STARTED
    assert len(cli.sent) == 2
