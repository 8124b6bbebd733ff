"""Runs, time, skew, rotation, revocation, faults and crashes in any order: no sequence of them makes the client sin.

Two processes share one account's state. Session, client, retries and the written state are the real ones; the API, time
and the making of codes are a model's.
"""

import asyncio
from collections import Counter
from unittest import mock

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner import profile as profiles
from runner.auth import totp
from runner.auth.credentials import Credentials
from runner.auth.session import LoginSessionProvider
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import LoginRefused, RunnerError
from runner.events.observer import Observer
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.models import UserSession
from runner.state.record import AccountState
from tests.support.login_model import FAULTS, PERIOD, Api, Crash, FakeClock, Seen, SharedStore

BASE_URL = "https://sync.example.org"
SEED = Seed(b"0123456789", period=PERIOD)
AUTH = profiles.load("garminsync").auth
TLS = tls_context("http://localhost", None)
PROCESSES = st.sampled_from(["one", "other"])


class Run:
    """One run of one process, from the reading of its secrets to its end."""

    def __init__(self, machine: "LoginMachine") -> None:
        self.seen = Seen()
        self.version = machine.files
        self.session: UserSession | None = None
        self.over = False  # it met a refusal, and tries no more
        self.client = Client(
            BASE_URL, clock=machine.clock, policy=Policy(3, 0.1, 1.0), request_timeout=30.0, tls=TLS,
            transport=httpx.MockTransport(lambda request: machine.api.answer(request, self.seen)),
        )  # fmt: skip
        self.provider = LoginSessionProvider(
            client=self.client, auth=AUTH, base_url=BASE_URL, credentials=self._read(machine), store=machine.store,
            clock=machine.clock, reread=lambda: self._read(machine),
        )  # fmt: skip

    def _read(self, machine: "LoginMachine") -> Credentials:
        self.version = machine.files
        return Credentials("user", str(machine.files), SEED)


class LoginMachine(RuleBasedStateMachine):
    """The rules, and what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = SharedStore()
        self.api = Api(self.clock, self.store)
        self.files = 1  # the version of the password that is mounted
        self.refusals = 0  # in a row, as the store should count them
        self.loop = asyncio.Runner()
        self.patched = mock.patch.object(totp, "code", lambda _seed, step: str(step))
        self.patched.start()
        self.runs = {"one": Run(self), "other": Run(self)}
        self.came: Counter[str] = Counter()  # what asking came to, and the steps in all

    def teardown(self) -> None:
        self.patched.stop()
        self.loop.close()

    @rule(process=PROCESSES)
    def go_on_in_a_new_run(self, process: str) -> None:
        self.begin(process)
        self.ask(process, rejected=False)

    @rule(process=PROCESSES, rejected=st.booleans())
    def ask(self, process: str, rejected: bool) -> None:
        """One wants a session, perhaps because the API no longer took the last one."""
        run = self.runs[process]
        refused = run.session if rejected else None
        well, asked = self._well(run), len(run.seen.requests)
        try:
            session = self.loop.run(self._session(run, refused))
        except Crash:
            self.came["crash"] += 1
            self.clock.now += 2.0  # until another is started
            self.refusals = self.store.load().failures  # perhaps one more, written as the last act
            self.begin(process)
        except RunnerError as error:
            assert not well, f"nothing was wrong, and yet: {error}"
            self.came[type(error).__name__] += 1
            self._ended(run, error, asked)
        else:
            self.came["session"] += 1
            self._started(run, session, refused)

    async def _session(self, run: Run, rejected: UserSession | None) -> UserSession:
        deadline = Deadline.after(self.clock, 86_400.0, "the run's deadline")
        return await run.provider.session(deadline, Observer(self.clock), rejected=rejected)

    def _well(self, run: Run) -> bool:
        """Whether nothing stands in the way of a session."""
        usual = not self.api.faults and self.store.kill_in is None and not run.over and not run.seen.codes
        allowed = self.store.load().cooldown_until <= self.clock.now and self.api.locked_until <= self.api.now()
        doubted = run.version in run.seen.unclear - run.seen.proven
        return usual and allowed and not doubted and run.version == self.api.secrets

    def _ended(self, run: Run, error: RunnerError, asked: int) -> None:
        if not isinstance(error, LoginRefused) or run.over:
            return
        run.over = True
        if len(run.seen.requests) > asked:
            self.refusals += 1
            stored = self.store.load()
            self.api.cooling = run.version
            if run.seen.password_refused == run.version:
                self.api.noted.add(run.version)
            assert stored.failures == self.refusals
            assert stored.cooldown_until == self.clock.now + min(6 * 3600, 300 * 2 ** (self.refusals - 1))
            assert stored.session is None

    def _started(self, run: Run, session: UserSession, rejected: UserSession | None) -> None:
        assert self.api.ends[session.access_token] > self.clock.now
        assert rejected is None or session.access_token != rejected.access_token
        if run.session is None or session.access_token != run.session.access_token:
            self.refusals = self.store.load().failures
        run.session = session

    @rule(process=PROCESSES)
    def begin(self, process: str) -> None:
        """The next run of that process; the last one is over, well or killed."""
        self.store.kill_in = None
        self.runs[process] = Run(self)

    @rule(tasks=st.integers(2, 5))
    def storm(self, tasks: int) -> None:
        """Several tasks of two new processes find the session gone at once: one goes for a new one."""
        self.begin("one")
        self.begin("other")
        self.api.faults.clear()
        runs = [run for run in self.runs.values() for _ in range(tasks)]
        if not all(map(self._well, self.runs.values())):
            return
        self.came["storm"] += 1
        kept = self.store.load().session
        before = [len(run.seen.requests) for run in self.runs.values()]

        async def all_at_once() -> list[UserSession]:
            return await asyncio.gather(*(self._session(run, kept) for run in runs))

        got = self.loop.run(all_at_once())
        asked = [one for run, n in zip(self.runs.values(), before, strict=True) for one in run.seen.requests[n:]]
        assert len({session.access_token for session in got}) == 1
        assert asked.count("refresh") <= 1 and asked.count("login") <= 2, asked
        for run, session in zip(runs, got, strict=True):
            self._started(run, session, kept)

    @rule(seconds=st.sampled_from([1.0, 7.5, 28.5, 31.0, 300.0, 880.0, 905.0, 7200.0, 86_400.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.store.load().last_step is not None or not self.api.steps)
    @rule(offset=st.floats(-600.0, 600.0))
    def set_the_apis_clock(self, offset: float) -> None:
        """Not right after the state was lost: nobody could know then which codes were used by the other clock."""
        self.api.offset = offset

    @rule()
    def revoke(self) -> None:
        """The API ends all sessions; who asks for another with an old refresh token is refused."""
        self.api.revoked |= set(self.api.families.values())

    @rule()
    def change_the_password(self) -> None:
        self.api.secrets += 1

    @rule(right=st.booleans())
    def mount(self, right: bool) -> None:
        self.files = self.api.secrets if right else 0

    @rule(process=PROCESSES, fault=st.sampled_from(FAULTS), after=st.integers(0, 2))
    def spoil(self, process: str, fault: str, after: int) -> None:
        """One of the next requests goes wrong."""
        self.api.faults = [fault, *[""] * after]
        self.ask(process, rejected=True)

    @rule(process=PROCESSES, saves=st.integers(0, 4), kept=st.booleans())
    def kill_at_a_save(self, process: str, saves: int, kept: bool) -> None:
        """The process dies with one of its next saves, or right after it."""
        self.store.kill_in, self.store.kept = saves, kept
        self.ask(process, rejected=True)

    @rule(process=PROCESSES, cooldown=st.booleans())
    def forget(self, process: str, cooldown: bool) -> None:
        """`logout`, or what `login --force` begins with."""
        self.store.kill_in = None
        deadline = Deadline(self.clock)
        self.loop.run(self.runs[process].provider.forget(deadline, cooldown=cooldown))
        if cooldown:
            self._nothing_refused()

    @precondition(lambda self: self.api.last_step <= self.api.now() // PERIOD)
    @rule()
    def lose_the_state(self) -> None:
        """What the store does with a file that cannot be read."""
        self.store.kill_in = None
        self.store.save(AccountState(assume_used_until=self.clock.now))
        self._nothing_refused()

    def _nothing_refused(self) -> None:
        """The client has no memory of refusals any more; by then some time has passed."""
        self.refusals, self.api.cooling = 0, None
        self.api.noted.clear()
        self.clock.now += 2.0

    @invariant()
    def without_sin(self) -> None:
        """Looked at after each step."""
        self.came["steps"] += 1
        assert self.api.sins == [], self.api.sins
