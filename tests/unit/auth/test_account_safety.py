"""No account is locked by us: what a refusal leads to, in the run, in later runs, with memory and without."""

import asyncio
import dataclasses
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import profile as profiles
from runner.auth import refusals
from runner.auth.credentials import Credentials
from runner.auth.static import StaticSessionProvider
from runner.auth.totp import Seed, code
from runner.clock import Deadline
from runner.errors import (
    AuthenticationError,
    Cause,
    ContractError,
    LoginRefused,
    LoginUnclear,
    RunnerError,
    Unreachable,
)
from runner.events.observer import Observer
from runner.models import UserSession
from runner.profile.loading import load_login
from runner.profile.models import Answer, Profile
from runner.state import record
from runner.state.memory import MemoryStore
from runner.state.record import AccountState, Codec
from tests.support.login_model import FakeClock
from tests.support.stores import load, save
from tests.unit.auth.test_login_flow import (
    CODE_WANTED,
    LOST,
    ME,
    NOW,
    SEED,
    STARTED,
    STEP,
    TOKENS,
    UNSENT,
    CommandLine,
    kept,
)

WRONG = (401, {"error": "Invalid user credentials"})
DAY = 24


def in_one_step(*more: Answer) -> Profile:
    """A login that takes password and code at once and has one answer for all that is wrong, as Keycloak's."""
    profile = profiles.load("garminsync")
    step = profile.auth.steps["code"]
    step = step.model_copy(update={"answers": (*more, *step.answers)})
    return profile.model_copy(update={"auth": profile.auth.model_copy(update={"steps": {"code": step}})})


def hours(answer: Any, store: Any, **more: Any) -> list[int]:
    """How many requests each of a day's hourly runs sends, which all meet that answer."""
    sent = []
    for hour in range(DAY):
        cli = CommandLine(*[answer] * 9, store=store() if callable(store) else store, **more)
        cli.clock.now = NOW + hour * 3600
        with pytest.raises(RunnerError):
            cli.ask()
        sent.append(len(cli.sent))
    return sent


def test_a_refused_password_is_sent_once_in_a_day_of_hourly_runs() -> None:
    assert hours(WRONG, kept(session=None, since=1.0)) == [1] + [0] * 23


def test_a_refusal_without_kept_state_says_what_the_next_run_will_do() -> None:
    cli = CommandLine(*[WRONG] * 9, store=MemoryStore())
    with pytest.raises(
        LoginRefused, match=r"no state is kept between runs .*stop the schedule until it is corrected, or keep state$"
    ):
        cli.ask()
    locked = LoginRefused("locked", cause=Cause.ACCOUNT)
    assert refusals.with_advice(locked, ME, kept=False) is locked
    refused = LoginRefused("refused", cause=Cause.CODE)
    assert refusals.with_advice(refused, ME, kept=True) is refused
    client = LoginRefused("client", cause=Cause.CLIENT)
    assert refusals.with_advice(client, ME, kept=False) is client


def test_a_password_or_code_refused_in_one_answer_is_sent_twice_in_a_day_and_never_twice_in_a_run() -> None:
    assert hours(WRONG, kept(session=None, since=1.0), profile=in_one_step()) == [1, 1] + [0] * 22
    assert hours(WRONG, lambda: kept(session=None), profile=in_one_step()) == [1] * 24


def test_the_login_after_one_that_another_runner_may_have_spoiled_comes_at_another_moment() -> None:
    waits = set()
    for _ in range(9):
        store = kept(session=None, since=1.0)
        with pytest.raises(LoginRefused, match="whether this user had another login at the same time"):
            CommandLine(WRONG, store=store, profile=in_one_step()).ask()
        later = CommandLine((200, TOKENS), store=store, profile=in_one_step())
        later.clock.now = NOW + 301
        later.ask()
        waits.add(later.clock.now - (NOW + 301))
    assert len(waits) == 9
    assert max(waits) <= 5


def test_a_login_without_a_clear_answer_has_a_cool_down_from_the_third_on() -> None:
    answers: list[Any] = [LOST, (500, {}), (504, {})]
    for answer in answers:
        sent = hours(answer, kept(session=None, since=1.0))
        assert sent[:2] == [1, 1]
        assert max(sent) == 1
    store = kept(session=None, since=1.0, doubts=2)
    cli = CommandLine((500, {}), store=store)
    with pytest.raises(Unreachable):
        cli.ask()
    again = CommandLine(store=store)
    with pytest.raises(Unreachable, match="3 logins in a row had no clear response"):
        again.ask()
    assert again.sent == []


@pytest.mark.parametrize("answer", [LOST, (500, {}), (504, {})])
def test_a_password_without_a_clear_answer_is_not_sent_again_in_the_run(answer: Any) -> None:
    store = kept(session=None, since=1.0)
    cli = CommandLine(answer, *[WRONG] * 9, store=store)
    with pytest.raises(Unreachable):
        cli.ask()
    for _ in range(3):  # further syncs of the account
        with pytest.raises(LoginUnclear, match="not sent again in this run"):
            cli.ask()
    assert (len(cli.sent), load(store).doubts) == (1, 1)
    with pytest.raises(LoginRefused):  # the next run tries it
        CommandLine(WRONG, store=store).ask()


def test_a_password_that_this_run_has_proven_survives_a_lost_answer() -> None:
    cli = CommandLine((200, TOKENS), LOST, (200, {**TOKENS, "access_token": "b"}), store=kept(session=None, since=1.0))
    first = cli.ask()
    first = dataclasses.replace(first, refresh_token=None)
    cli.provider._session = first
    save(cli.store, dataclasses.replace(load(cli.store), session=first))
    with pytest.raises(Unreachable):
        cli.ask(rejected=first)
    assert cli.ask(rejected=first).access_token == "b"


def test_a_mended_secret_is_tried_at_once() -> None:
    store = kept(session=None, since=1.0)
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=store).ask()
    blocked = CommandLine(store=store)
    with pytest.raises(LoginRefused, match="refused this `password` on 2027-01-15 at 08:00 UTC; it is not sent again"):
        blocked.ask()
    seed = Credentials("me", "geheim", Seed(b"another one"))
    with pytest.raises(LoginRefused, match="not sent again"):
        CommandLine(store=store, credentials=seed).ask()
    mended = CommandLine((200, TOKENS), store=store, credentials=Credentials("me", "neu", SEED))
    mended.ask()
    now = mended.stored
    assert now == AccountState(now.session, session_login=now.session_login, since=1.0)


def test_what_refuses_is_not_kept_in_plain() -> None:
    store = kept(session=None)
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=store).ask()
    raw = Codec().encode(load(store))
    assert b"geheim" not in raw
    other = kept(session=None)
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=other).ask()
    assert load(other).refused_secrets != load(store).refused_secrets  # salted


def test_by_force_a_refused_password_is_sent_again() -> None:
    store = kept(session=None, since=1.0)
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=store).ask()
    save(store, dataclasses.replace(load(store), **refusals.FORGIVEN))
    CommandLine((200, TOKENS), store=store).ask()


@pytest.mark.parametrize(
    ("rule", "told"), [("locked", "once the account is unlocked, run `"), ("refused", "correct the cred")]
)
def test_a_cool_down_says_what_to_mend(rule: str, told: str) -> None:
    store = kept(session=None, since=1.0)
    profile = in_one_step(Answer(status=(401,), then=rule))
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=store, profile=profile).ask()
    with pytest.raises(LoginRefused, match=told):
        CommandLine(store=store, profile=profile).ask()


@pytest.mark.parametrize("ahead", [3600.0, 86_400.0 * 365, 1e15])
def test_a_cool_down_that_a_wrong_clock_wrote_ends_after_its_own_length(ahead: float) -> None:
    state = AccountState(failures=1, cooldown_until=NOW + ahead)
    assert refusals.cooldown(state, NOW) == 300.0
    store = kept(session=None, failures=1, cooldown_until=NOW + ahead)
    with pytest.raises(LoginRefused, match="for another 300 s"):
        CommandLine(store=store).ask()
    later = CommandLine((200, TOKENS), store=store)
    later.clock.now = NOW + 300
    later.ask()


@given(
    st.builds(
        AccountState, failures=st.integers(), doubts=st.integers(), cooldown_until=st.floats(), refused_at=st.floats(),
        refused_cause=st.sampled_from([*Cause, "", "x"]), refused_secrets=st.text(), blocked=st.booleans(),
    )
)  # fmt: skip
def test_no_state_is_a_defect_and_no_cool_down_is_longer_than_six_hours(state: AccountState) -> None:
    assert 0 <= refusals.cooldown(state, NOW) <= record.MAX_COOLDOWN
    refusals.objection(state, ME, NOW)
    for cause in Cause:
        refusals.after_refusal(state, cause, ME, NOW)
    refusals.after_doubt(state, ME, NOW)


def test_without_memory_of_the_step_one_more_code_is_sent_and_then_the_seed_is_judged() -> None:
    cli = CommandLine(CODE_WANTED, WRONG, (200, TOKENS))
    cli.ask()
    assert cli.codes == [code(SEED, STEP), code(SEED, STEP + 1)]
    wrong = CommandLine(CODE_WANTED, WRONG, WRONG)
    with pytest.raises(LoginRefused, match="the one-time code was refused"):
        wrong.ask()
    assert (len(wrong.codes), wrong.stored.failures) == (2, 1)
    remembered = CommandLine(CODE_WANTED, WRONG, store=kept(session=None, since=NOW - 60))
    with pytest.raises(LoginRefused, match="the one-time code was refused"):
        remembered.ask()
    assert len(remembered.codes) == 1


@pytest.mark.parametrize("memory", [{"since": NOW - 5}, {"since": NOW - 60, "answered": False}])
def test_a_young_state_or_a_lost_answer_is_no_memory(memory: dict[str, Any]) -> None:
    cli = CommandLine(CODE_WANTED, WRONG, (200, TOKENS), store=kept(session=None, **memory))
    cli.ask()
    assert len(cli.codes) == 2
    assert cli.stored.answered


def test_a_password_goes_with_a_code_that_nobody_can_have_used() -> None:
    young = CommandLine((200, TOKENS), profile=in_one_step())
    young.ask()
    assert young.codes == [code(SEED, STEP + 1)]
    old = CommandLine((200, TOKENS), profile=in_one_step(), store=kept(session=None, since=NOW - 60))
    old.ask()
    assert old.codes == [code(SEED, STEP)]


def test_a_clock_that_is_off_does_not_bring_a_password_out_again() -> None:
    far = {"Date": formatdate(NOW + 600, usegmt=True)}
    store = kept(session=None, since=1.0)
    cli = CommandLine((*WRONG, far), profile=in_one_step(), store=store)
    with pytest.raises(LoginRefused, match="the API does not say which"):
        cli.ask()
    later = CommandLine((200, TOKENS, far), profile=in_one_step(), store=store)
    later.clock.now = NOW + 301
    later.ask()
    assert later.codes == [code(SEED, STEP + 30)]


@pytest.mark.parametrize("answer", [(429, {}, {"Retry-After": "0"}), (503, {}), (425, {})])
def test_what_is_turned_away_is_sent_four_times_at_most_and_two_seconds_apart(answer: Any) -> None:
    for first in ([], [CODE_WANTED]):
        cli = CommandLine(*first, *[answer] * 50)
        with pytest.raises(RunnerError):
            cli.ask()
        assert len(cli.sent) - len(first) <= 4
        assert cli.clock.now - NOW >= 2.0 * (len(cli.sent) - len(first) - 1)


def test_two_refusals_are_two_seconds_apart_in_a_run_and_between_runs() -> None:
    cli = CommandLine(WRONG, WRONG, reread=lambda: Credentials("me", "neu", SEED), store=kept(session=None, since=1.0))
    with pytest.raises(LoginRefused):
        cli.ask()
    assert cli.clock.now == NOW + 2
    third = CommandLine((200, TOKENS), store=cli.store, credentials=Credentials("me", "third", SEED))
    third.clock.now = NOW + 2.5
    third.ask()
    assert third.clock.now == NOW + 4


@pytest.mark.parametrize(
    ("rule", "kind", "cause", "told"),
    [
        ({"then": "refused", "cause": "client"}, LoginRefused, "client", "the client was refused, not the user (401: said)"),
        ({"then": "refused", "cause": "account"}, LoginRefused, "account", "the API refuses the account (401: said)"),
        ({"then": "refused", "cause": "code"}, LoginRefused, "code", "the one-time code was refused (401: said)"),
        ({"then": "refused", "cause": "token"}, LoginRefused, "token", "the result of an earlier login step was refused"),
        ({"then": "locked"}, LoginRefused, "account", "the account is locked or disabled at the API (401: said)"),
        ({"then": "failing"}, Unreachable, "", "could not process the login (401: said)"),
        ({"then": "later"}, Unreachable, "", "could not process the login (401: said)"),
    ],
)  # fmt: skip
def test_each_cause_has_its_words(rule: dict[str, Any], kind: type[RunnerError], cause: str, told: str) -> None:
    profile = in_one_step(Answer(status=(401,), **rule))
    cli = CommandLine(*[(401, {"error": "said"})] * 2, profile=profile, store=kept(session=None, since=1.0))
    with pytest.raises(kind) as caught:
        cli.ask()
    assert told in str(caught.value)
    assert cli.stored.refused_cause == (
        "" if cause in ("token", "client") else cause
    )  # no secret of the user was refused
    assert len(cli.sent) == (2 if rule["then"] == "later" else 1)


def test_a_refused_client_holds_up_no_user_and_is_sent_again_by_the_next_run() -> None:
    profile = in_one_step(Answer(status=(401,), then="refused", cause="client"))
    assert hours(WRONG, kept(session=None, since=1.0), profile=profile) == [1] * DAY


def test_a_refused_client_that_is_the_account_itself_has_a_cool_down() -> None:
    itself = Credentials(client_id="machine", client_secret="not this")
    assert refusals.counts(Cause.CLIENT, itself)
    stored = dataclasses.replace(AccountState(), **refusals.after_refusal(AccountState(), Cause.CLIENT, itself, NOW))
    assert isinstance(refusals.objection(stored, itself, NOW + DAY * 3600), LoginRefused)


def test_again_in_a_moment_is_two_seconds_later_and_no_failure() -> None:
    profile = in_one_step(Answer(status=(401,), then="later"))
    cli = CommandLine(WRONG, (200, TOKENS), profile=profile, store=kept(session=None, since=1.0))
    cli.ask()
    assert cli.clock.now >= NOW + 2
    assert cli.stored.failures == 0


def test_a_page_of_a_firewall_is_no_wrong_password() -> None:
    cli = CommandLine()
    page = httpx.Response(403, text="<html>blocked</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    cli.answering = lambda request: page
    with pytest.raises(Unreachable, match="403 came with an HTML page, which is not this API's response"):
        cli.ask()
    assert (cli.stored.failures, cli.stored.doubts) == (0, 1)


@pytest.mark.parametrize("answer", [UNSENT, (502, {}), (503, {})])
def test_a_refresh_whose_server_is_away_keeps_its_token_and_goes_on_with_the_session(answer: Any) -> None:
    store = kept()
    cli = CommandLine(*[answer] * 9, store=store)
    cli.clock.now = NOW + 895
    assert cli.ask() == STARTED
    assert load(store).session == STARTED
    assert {endpoint for endpoint, _ in cli.sent} == {"refresh"}
    back = CommandLine((200, TOKENS), store=store)
    back.clock.now = NOW + 896
    back.ask()
    assert back.sent == [("refresh", {"refresh_token": "again"})]


@pytest.mark.parametrize("answer", [LOST, (500, {}), (504, {})])
def test_a_refresh_that_may_have_been_taken_is_not_sent_again_and_the_session_goes_on(answer: Any) -> None:
    cli = CommandLine(answer, CODE_WANTED, (200, TOKENS), store=kept())
    cli.clock.now = NOW + 895
    assert cli.ask().access_token == "access"
    cli.clock.now = NOW + 901
    cli.ask()
    assert [endpoint for endpoint, _ in cli.sent] == ["refresh", "login", "login"]


@pytest.mark.parametrize("lifetime", [0, 5, 9.9, 120_000_000, 86_400 * 400])
def test_a_lifetime_that_cannot_be_meant_causes_no_login_with_each_request(lifetime: float) -> None:
    cli = CommandLine((200, {**TOKENS, "expires_in": lifetime}))
    assert cli.ask().expires_at is None
    cli.clock.now += 60
    cli.ask()
    assert len(cli.sent) == 1


def test_an_end_in_milliseconds_is_not_believed() -> None:
    profile = in_one_step()
    fields = profile.auth.session
    assert fields is not None
    told = fields.model_validate({"access_token": "access_token", "expires_at": "expires"})
    profile = profile.model_copy(update={"auth": profile.auth.model_copy(update={"session": told})})
    for at in ((NOW + 900) * 1000 // 1, NOW - 5, 58_000 * 365 * 86_400):
        cli = CommandLine((200, {"access_token": "a", "expires": int(at)}), profile=profile)
        assert cli.ask().expires_at is None, at


def test_a_short_token_keeps_a_margin_of_its_own_length() -> None:
    cli = CommandLine((200, {**TOKENS, "expires_in": 12}))
    cli.ask()
    cli.clock.now += 8
    cli.ask()
    assert len(cli.sent) == 1


def test_a_good_refresh_says_nothing_of_a_refused_password() -> None:
    store = kept(session=None, since=1.0)
    with pytest.raises(LoginRefused):
        CommandLine(WRONG, store=store).ask()
    mounted = dataclasses.replace(ME, refresh_token="mounted")
    CommandLine((200, TOKENS), store=store, credentials=mounted).ask()
    save(store, dataclasses.replace(load(store), session=None))
    with pytest.raises(LoginRefused, match="not sent again until it changes"):
        CommandLine(store=store, credentials=mounted).ask()


def test_errors_that_are_no_refusals_are_not_counted() -> None:
    for answer, kind in (((418, {}), ContractError), (UNSENT, Unreachable)):
        cli = CommandLine(*[answer] * 9)
        with pytest.raises(kind):
            cli.ask()
        assert (cli.stored.failures, cli.stored.doubts) == (0, 0)
    assert issubclass(LoginRefused, AuthenticationError)


def test_a_refused_password_that_goes_with_each_request_is_not_sent_by_later_runs() -> None:
    store, clock = MemoryStore(), FakeClock()
    auth = load_login("basic").auth

    def provider(password: str) -> StaticSessionProvider:
        mounted = Credentials("me", password)
        return StaticSessionProvider(
            auth=auth, credentials=mounted, constant={}, reread=lambda: mounted, store=store, clock=clock
        )

    def ask(one: StaticSessionProvider, rejected: UserSession | None = None) -> UserSession:
        return asyncio.run(one.session(Deadline(clock), Observer(clock), rejected=rejected))

    first = provider("wrong")
    session = ask(first)
    with pytest.raises(LoginRefused, match="the API refuses the mounted secret"):
        ask(first, session)
    for _ in range(24):
        clock.now += 3600
        with pytest.raises(LoginRefused, match="not sent again until it changes"):
            ask(provider("wrong"))
    ask(provider("right"))
    asyncio.run(first.forget(Deadline(clock), cooldown=True))
    ask(provider("wrong"))
