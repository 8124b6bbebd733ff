"""Login, refresh and codes against the sandbox: the server's own record is the judge. Time is shared, nobody waits."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from runner import profile as profiles
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import parse_seed
from runner.clock import Deadline
from runner.errors import AuthenticationError, ContractError, DeadlineExceeded, LoginRefused, SecretError, Unreachable
from runner.events.observer import Event, Observer, Record
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.models import UserSession
from runner.state.interface import AccountStore
from runner.state.memory import MemoryStore
from tests.support.clock import LinkedClock
from tests.support.command_line import CommandLine
from tests.support.stores import CLOCK, directory_store, load, save

MakeCommandLine = Callable[..., CommandLine]


@dataclass
class User:
    """Somebody who logs in at a sandbox, perhaps in several runs over one store."""

    cli: CommandLine
    clock: LinkedClock
    store: AccountStore = field(default_factory=MemoryStore)
    attempts: int = 5
    seed: str | None = ""
    password: str | None = None
    events: list[Event] = field(default_factory=list)
    base_url: str | None = None
    loop: asyncio.Runner = field(default_factory=asyncio.Runner)
    clients: list[Client] = field(default_factory=list)

    def close(self) -> None:
        """Close what the runs opened."""
        for client in self.clients:
            self.loop.run(client.close())
        self.loop.close()

    def provider(self) -> LoginSessionProvider:
        """A new run's keeper."""
        known = self.cli.server.credentials
        base_url = self.base_url or self.cli.server.base_url
        seed = known["totp_seed"] if self.seed == "" else self.seed
        client = Client(
            base_url,
            clock=self.clock,
            policy=Policy(self.attempts, 0.01, 0.02),
            request_timeout=10.0,
            tls=tls_context(base_url, None),
        )
        self.clients.append(client)
        return LoginSessionProvider(
            client=client,
            auth=profiles.load("garminsync").auth,
            base_url=base_url,
            credentials=Credentials(
                known["username"], self.password or known["password"], parse_seed(seed) if seed else None
            ),
            store=self.store,
            clock=self.clock,
        )

    def observer(self) -> Observer:
        """Notes every event."""

        def note(record: Record) -> None:
            self.events.append(record.event)

        return Observer(self.clock, [note])

    def log_in(self, provider: LoginSessionProvider | None = None, **options: Any) -> UserSession:
        """One run's request for a session."""
        provider = provider or self.provider()
        deadline = Deadline.after(self.clock, options.pop("within", 3600.0), "the run's deadline")

        async def ask() -> UserSession:
            return await provider.session(deadline, self.observer(), **options)

        return self.loop.run(ask())

    def names(self) -> list[str]:
        """The events so far, by name."""
        return [event.name for event in self.events if event.name != "http.request"]

    def seen(self, endpoint: str) -> list[int]:
        """The statuses that the server gave on that endpoint, in order."""
        return [request["status"] for request in self.cli.record()["requests"] if request["endpoint"] == endpoint]


MakeUser = Callable[..., User]


@pytest.fixture
def user_at() -> Iterator[MakeUser]:
    """Makes a user whose clock is also the sandbox's."""
    with ExitStack() as stack:

        def make(cli: CommandLine, **options: Any) -> User:
            user = User(cli, clock=options.pop("clock", None) or LinkedClock(cli.server), **options)
            stack.callback(user.close)
            return user

        yield make


@pytest.fixture
def user(cli: CommandLine, user_at: MakeUser) -> User:
    """A user with password and one-time code, in the middle of a time step: no test depends on when it runs."""
    made = user_at(cli)
    _mid_step(made.clock)
    return made


def _mid_step(clock: LinkedClock) -> None:
    """Move to 10 s into a time step."""
    clock.pass_time(30 - clock.time() % 30 + 10)


def test_the_password_goes_first_and_a_code_only_when_it_is_asked_for(user: User) -> None:
    session = user.log_in()
    assert session.token.mfa_verified
    assert user.seen("login") == [401, 200]


def test_an_account_without_a_second_factor_needs_no_seed(cli_with: MakeCommandLine, user_at: MakeUser) -> None:
    cli = cli_with(mfa="none")
    user = user_at(cli, seed=None)
    assert not user.log_in().token.mfa_verified
    assert user.seen("login") == [200]


def test_the_challenge_form_is_found_by_the_answer(cli_with: MakeCommandLine, user_at: MakeUser) -> None:
    cli = cli_with(mfa="challenge")
    assert user_at(cli).log_in().token.mfa_verified


def test_a_factor_that_needs_a_person_says_what_to_change(cli_with: MakeCommandLine, user_at: MakeUser) -> None:
    cli = cli_with(mfa="sms")
    with pytest.raises(LoginRefused, match="set up an authenticator app for the account"):
        user_at(cli).log_in()


def test_a_missing_seed_is_named_and_is_no_refusal(user: User) -> None:
    user.seed = None
    with pytest.raises(SecretError, match="mount the account's TOTP seed"):
        user.log_in()
    assert load(user.store).failures == 0


def test_a_cached_session_is_used_without_a_request(user: User) -> None:
    first = user.log_in()
    assert user.log_in() == first
    assert user.names() == ["session.started", "session.reused"]
    assert user.seen("login") == [401, 200]


def test_a_session_about_to_end_is_refreshed(user: User) -> None:
    first = user.log_in()
    user.clock.pass_time(895)
    second = user.log_in()
    assert second.access_token != first.access_token
    assert (user.seen("refresh"), user.seen("login")) == ([200], [401, 200])
    assert second.token.mfa_verified


def test_a_refused_refresh_is_followed_by_a_login(user: User) -> None:
    user.log_in()
    user.clock.pass_time(895)
    user.cli.fault(kind="status", endpoint="refresh", status=401)
    user.log_in()
    assert user.names() == ["session.started", "session.failed", "session.started"]


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_a_lost_refresh_answer_is_never_replayed_and_a_login_follows(user: User, kind: str) -> None:
    user.log_in()
    user.clock.pass_time(901)
    user.cli.fault(kind=kind, endpoint="refresh")
    user.log_in()
    assert len(user.seen("refresh")) == 1
    assert user.seen("login") == [401, 200, 401, 200]


def test_a_refresh_that_was_never_sent_keeps_its_token(user: User, user_at: MakeUser) -> None:
    user.log_in()
    kept = load(user.store).session
    user.clock.pass_time(901)
    away = user_at(user.cli, clock=user.clock, store=user.store, attempts=2, base_url="http://127.0.0.1:1")
    with pytest.raises(Unreachable):
        away.log_in()
    assert load(user.store).session == kept


def test_a_rejected_token_is_renewed_once_for_all_that_share_it(user: User) -> None:
    provider = user.provider()

    async def ask(rejected: UserSession | None) -> UserSession:
        return await provider.session(Deadline(user.clock), user.observer(), rejected=rejected)

    async def storm() -> list[UserSession]:
        first = await ask(None)
        return await asyncio.gather(*(ask(first) for _ in range(50)))

    renewed = user.loop.run(storm())
    assert len({session.access_token for session in renewed}) == 1
    assert user.seen("refresh") == [200]


def test_a_code_is_never_used_twice_the_second_login_waits_for_the_next_step(user: User) -> None:
    user.log_in()
    save(user.store, replace(load(user.store), session=None))
    user.log_in()
    assert user.seen("login") == [401, 200, 401, 200]
    assert sum(user.clock.slept) == pytest.approx(20, abs=5)
    assert "login.code_wait" in user.names()


def test_near_the_end_of_a_step_the_next_one_is_waited_for(user: User) -> None:
    user.clock.pass_time(30 - user.clock.time() % 30 + 29)
    user.log_in()
    assert user.seen("login") == [401, 200]
    assert user.clock.slept
    assert user.clock.slept[0] <= 2.0


def test_a_wait_that_passes_the_deadline_is_not_begun(user: User) -> None:
    user.log_in()
    save(user.store, replace(load(user.store), session=None))
    with pytest.raises(DeadlineExceeded, match="the next one-time code is due in"):
        user.log_in(within=5.0)
    assert user.clock.slept == []


def _walk_with_fault_on_the_code(user: User, **fault: Any) -> None:
    user.cli.fault(endpoint="login", skip=1, **fault)


def test_a_code_whose_answer_was_lost_is_not_sent_again_the_next_one_is(user: User) -> None:
    _walk_with_fault_on_the_code(user, kind="reset_after")
    session = user.log_in()
    assert session.token.mfa_verified
    assert len(user.seen("login")) == 3
    assert sum(user.clock.slept) == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("kind", "more"), [("reset_after", {}), ("status", {"status": 503}), ("status", {"status": 502})]
)
def test_two_codes_are_the_most_that_one_run_sends(user: User, kind: str, more: dict[str, Any]) -> None:
    _walk_with_fault_on_the_code(user, kind=kind, times=-1, **more)
    with pytest.raises(Unreachable):
        user.log_in()
    assert len(user.seen("login")) == 1 + 2
    assert load(user.store).failures == 0


def test_a_code_that_was_turned_away_by_the_rate_limit_may_still_be_used(user: User) -> None:
    _walk_with_fault_on_the_code(user, kind="status", status=429, retry_after="2", times=3)
    assert user.log_in().token.mfa_verified
    assert user.seen("login") == [401, 429, 429, 429, 200]
    assert sum(user.clock.slept) < 20


def test_a_failing_server_gets_the_password_once(user: User) -> None:
    user.cli.fault(kind="status", endpoint="login", status=500, times=-1)
    with pytest.raises(Unreachable, match="login: the API answered 500"):
        user.log_in()
    assert user.seen("login") == [500]


def test_a_wrong_password_is_sent_once_and_a_cool_down_begins(user: User) -> None:
    user.password = "wrong"
    provider = user.provider()
    for _ in range(3):
        with pytest.raises(LoginRefused, match="the username or password was refused"):
            user.log_in(provider)
    assert user.seen("login") == [401]
    assert "login.cooldown" in user.names()


def test_a_refused_password_is_not_sent_again_until_it_changes(user: User) -> None:
    right, user.password = user.password, "wrong"
    for _ in range(24):
        with pytest.raises(LoginRefused):
            user.log_in()
        user.clock.pass_time(3600)
    assert user.seen("login") == [401]
    user.password = "also wrong"
    with pytest.raises(LoginRefused, match="was refused"):
        user.log_in()
    user.password = right
    user.log_in()
    assert user.seen("login") == [401, 401, 401, 200]
    assert (load(user.store).failures, load(user.store).cooldown_until) == (0, 0.0)


def test_refused_codes_have_a_cool_down_that_grows_and_a_mended_seed_is_tried_at_once(user: User) -> None:
    right, user.seed = user.cli.server.credentials["totp_seed"], "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    lengths = []
    for _ in range(2):
        with pytest.raises(LoginRefused, match="the one-time code was refused"):
            user.log_in()
        with pytest.raises(LoginRefused, match="sync-runner login --force"):
            user.log_in()
        lengths.append(load(user.store).cooldown_until - user.clock.time())
        user.clock.pass_time(lengths[-1] + 1)
    assert lengths == pytest.approx([300, 600], abs=5)
    assert user.seen("login") == [401, 401, 401, 401, 401]  # two codes without memory, then one
    with pytest.raises(LoginRefused):
        user.log_in()
    user.seed = right
    user.log_in()
    assert (load(user.store).failures, load(user.store).cooldown_until) == (0, 0.0)


def test_a_wrong_seed_costs_one_code_and_one_more_where_nothing_is_known_of_the_step(user: User) -> None:
    user.seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    with pytest.raises(LoginRefused, match="check the secret `totp_seed`"):
        user.log_in()
    assert user.seen("login") == [401, 401, 401]
    user.clock.pass_time(301)
    with pytest.raises(LoginRefused, match="check the secret `totp_seed`"):
        user.log_in()
    assert user.seen("login") == [401, 401, 401, 401, 401]


def test_a_runner_without_memory_is_not_misled_by_a_code_that_its_predecessor_used(
    user: User, user_at: MakeUser
) -> None:
    user.log_in()
    successor = user_at(user.cli, clock=user.clock)
    assert successor.log_in().token.mfa_verified
    assert user.seen("login") == [401, 200, 401, 401, 200]
    assert load(successor.store).failures == 0


def test_a_locked_account_is_told_as_such(user: User) -> None:
    user.cli.fault(kind="status", endpoint="login", status=423)
    with pytest.raises(LoginRefused, match="the account is locked or disabled at the API"):
        user.log_in()


@pytest.mark.parametrize("offset", [-900.0, -95.0, 65.0, 3000.0])
def test_codes_are_made_for_the_servers_clock(user: User, offset: float) -> None:
    user.cli.fault(kind="clock_offset", seconds=offset)
    assert user.log_in().token.mfa_verified
    assert load(user.store).skew == pytest.approx(offset, abs=2)
    assert "login.clock_skew" in user.names()


def test_a_date_header_that_can_not_be_true_is_not_believed(user: User) -> None:
    user.cli.fault(kind="clock_offset", seconds=86_400.0)
    with pytest.raises(LoginRefused):
        user.log_in()
    assert load(user.store).skew == 0.0


def test_a_lost_code_record_counts_all_steps_up_to_its_writing_as_used(user: User, tmp_path: Path) -> None:
    user.store = directory_store(tmp_path, user.cli.server.base_url, "demo", user.clock)
    user.log_in()
    next((tmp_path / "sessions").glob("[0-9a-f]*.json")).write_text("{")
    # The file's time is the machine's, which the linked clock has left behind: bring the record to now.
    import os

    path = next((tmp_path / "sessions").glob("[0-9a-f]*.json"))
    os.utime(path, (user.clock.time(), user.clock.time()))
    user.log_in()
    assert user.seen("login") == [401, 200, 401, 200]


def test_a_lying_api_that_asks_for_code_after_code_is_left(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = user.provider()
    user.log_in(provider)
    for _ in range(2):
        user.clock.pass_time(3600)
        save(user.store, replace(load(user.store), session=None))
        if not provider._steps.codes.used_up:
            user.log_in(provider)
    with pytest.raises(AuthenticationError, match="2 one-time codes were sent in this run already"):
        user.log_in(provider)
    assert load(user.store).failures == 0


def test_what_the_profile_has_no_meaning_for_is_a_contract_error_without_values(user: User) -> None:
    user.cli.fault(kind="status", endpoint="login", status=418)
    with pytest.raises(ContractError, match="no rule of the profile matches the response 418 \\(shape: "):
        user.log_in()


def test_an_unreachable_api_costs_no_code(cli: CommandLine, user_at: MakeUser) -> None:
    user = user_at(cli, attempts=2, base_url="http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="cannot connect"):
        user.log_in()
    assert load(user.store).last_step is None


def test_the_step_is_on_record_before_the_code_leaves(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = user.provider()
    recorded: list[int | None] = []
    exchange: Callable[..., Awaitable[Any]] = provider._steps._client.exchange

    async def watched(*arguments: Any) -> Any:
        recorded.append((await user.store.read(Deadline(CLOCK))).last_step)
        return await exchange(*arguments)

    monkeypatch.setattr(provider._steps._client, "exchange", watched)
    user.log_in(provider)
    assert recorded[0] is None
    assert recorded[1] == load(user.store).last_step is not None


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 60, "a test really slept"


def test_secrets_that_were_rotated_are_read_again_after_a_refusal_and_tried_once(user: User) -> None:
    right = user.password or user.cli.server.settings.password
    user.password = "of yesterday"
    provider = user.provider()
    known = provider._mounted.credentials
    reads: list[Credentials] = []

    def reread() -> Credentials:
        reads.append(replace(known, password=right))
        return reads[-1]

    provider._mounted._reread = reread
    assert user.log_in(provider).token.mfa_verified
    assert len(reads) == 1
    assert "login.secrets_rotated" in user.names()
    assert load(user.store).failures == 0


@pytest.mark.parametrize("then", ["the same", "also wrong", "another user", "unreadable"])
def test_secrets_that_did_not_change_for_the_better_are_not_sent_again_and_again(user: User, then: str) -> None:
    user.password = "wrong"
    provider = user.provider()
    known = provider._mounted.credentials

    def reread() -> Credentials:
        if then == "unreadable":
            raise SecretError("/run/secrets/password: empty")
        return {
            "the same": known,
            "also wrong": replace(known, password="still wrong"),
            "another user": replace(known, username="other"),
        }[then]

    provider._mounted._reread = reread
    for _ in range(2):
        with pytest.raises(LoginRefused):
            user.log_in(provider)
    assert len(user.seen("login")) == (2 if then == "also wrong" else 1)
    assert load(user.store).failures == 1


def test_a_mounted_refresh_token_spares_the_login_and_is_sent_once(user: User, user_at: MakeUser) -> None:
    token = user.log_in().refresh_token
    other = user_at(user.cli, clock=user.clock)
    provider = other.provider()
    provider._mounted.credentials = replace(provider._mounted.credentials, refresh_token=token)
    other.log_in(provider)
    assert user.seen("login") == [401, 200]
    assert user.seen("refresh") == [200]
    save(other.store, replace(load(other.store), session=None))
    user.clock.pass_time(60)  # the other store knows nothing of the code that was used
    again = other.provider()
    again._mounted.credentials = provider._mounted.credentials
    other.log_in(again)
    assert user.seen("refresh") == [200]
    assert user.seen("login") == [401, 200, 401, 200]


def test_a_refused_password_is_kept_as_a_fingerprint_that_is_costly_to_guess(cli: CommandLine) -> None:
    (cli.secrets / "password").write_text("not this one")
    assert cli.run("login").code == 3
    (kept,) = [json.loads(file.read_text()) for file in cli.state.rglob("*.json") if not file.name.startswith("seed-")]
    salt, fingerprint = kept["refused_secrets"].split(":")
    guess = repr([("password", "not this one"), ("username", cli.server.credentials["username"])]).encode()
    assert fingerprint == hashlib.scrypt(guess, salt=salt.encode(), n=2**13, r=8, p=1, dklen=16).hex()
