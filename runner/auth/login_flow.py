"""The walk through the profile's login steps: send one, find what its answer means, carry values on, until the end."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.auth.browser import Browser, Gate
from runner.auth.codes import MAX_CODES, Codes
from runner.auth.random_values import random_values
from runner.auth.refusal_text import not_the_api, refusal
from runner.auth.refusals import APART
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import Cause, ContractError, DeadlineExceeded, LoginRefused, LoginUnclear, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.http import retry
from runner.http.client import Client
from runner.http.messages import Response
from runner.http.retry import Safety
from runner.profile import extraction
from runner.profile.expressions import shape
from runner.profile.models import Answer as Rule
from runner.profile.models import Auth, Step
from runner.state.interface import HeldState
from runner.state.record import AccountState

TURNED_AWAY = frozenset({425, 429})  # answers that say the request was not looked at (RFC 8470, RFC 6585)
OF_CLIENT = frozenset({"client_id", "client_secret", "client_basic", "client_assertion"})
PASSWORDS = ("username", "password", "api_token")  # a change of one of these makes another login
SPREAD = 5.0  # seconds: Keycloak refuses one of two logins of a user that go on at the same time
MAX_REPEATS = 3  # further sendings of a password or code in one run that were turned away; most servers lock at five

_Secrets = tuple[Any, ...]  # the values of PASSWORDS


@dataclass(slots=True)
class LoginState:
    """Where a walk has come to: the last answer, what was carried so far, and what it has shown."""

    values: dict[str, Any]
    browser: Browser
    answer: Response | None = None
    carried: dict[str, Any] = field(default_factory=dict)
    used_code: bool = False
    proven: bool = False  # the password: an answer to it led on
    later: bool = False  # an answer said to come again in a moment


class LoginFlow:
    """One account's way through the steps."""

    def __init__(self, client: Client, auth: Auth, codes: Codes, clock: Clock, named: Mapping[str, Client]) -> None:
        """`client` speaks to the login's own address, the `named` ones to those that steps name with `at`."""
        self._named = named
        self._client = client
        self._auth = auth
        self.codes = codes
        self._clock = clock
        self.repeats = 0
        self.no_good_until = 0.0  # monotonic: nothing that may be refused is sent before
        self.doubtful = False  # the last walk ended without a clear answer to a password
        self._unclear: _Secrets | None = None  # of that walk
        self._proven: _Secrets | None = None  # of the last walk that came to its end
        self.gate: tuple[str, Gate] | None = None

    def browser(self, kept: str | None = None) -> Browser:
        """A new walk's, with the cookies that were `kept`."""
        return Browser(self._auth, self._client, self._named, self._clock, kept, self.gate)

    async def go(
        self,
        held: HeldState,
        values: Mapping[str, Any],
        seed: Seed | None,
        deadline: Deadline,
        observer: Observer,
        cookies: str | None = None,
    ) -> LoginState:
        """From the first step until one says done; `values` are what the templates may use, `cookies` those of before.

        Raises LoginRefused, ContractError, Unreachable, DeadlineExceeded; LoginUnclear for a password that an earlier walk of
        this run sent without a clear answer, and that no login of this run has proven: it may have been refused."""
        self.doubtful = False
        secrets = tuple(values.get(name) for name in PASSWORDS)
        self._check_unclear(secrets)
        try:
            state = await self._walk(held, values, seed, deadline, observer, cookies)
        finally:
            if self.doubtful:
                self._unclear = secrets
        self._proven = secrets
        return state

    def _check_unclear(self, secrets: _Secrets) -> None:
        # decision 0162
        if secrets == self._unclear != self._proven:
            raise LoginUnclear(
                "login: this run sent the password once without a clear answer, which may count as refused; it is not sent "
                "again in this run, so that the account is not locked"
            )

    async def _walk(
        self,
        held: HeldState,
        values: Mapping[str, Any],
        seed: Seed | None,
        deadline: Deadline,
        observer: Observer,
        cookies: str | None,
    ) -> LoginState:
        await self.codes.begin(deadline)
        state = LoginState({**values, **random_values()}, self.browser(cookies))
        name = next(iter(self._auth.steps))
        for _ in range(2 * len(self._auth.steps) + MAX_CODES):
            step = self._auth.steps[name]
            skew = held.state.skew
            sending = _Sending(self, held, step, state)
            answer = state.answer = await self._send(step, sending, seed, deadline, observer)
            clock_was_wrong = abs(held.state.skew - skew) >= 2.0
            state.used_code = state.used_code or (step.wants_code and "code" in state.values)
            rule = self._meaning(step, answer, state)
            if self._once_more(rule, step, state, clock_was_wrong):
                continue
            self._refuse(rule, step, state, answer)
            self._carry(rule, answer, state)
            state.proven = state.proven or step.sends_password
            if rule.then == "done":
                return state
            name = rule.then
        raise ContractError("login: the API sent the login in a circle")

    def _meaning(self, step: Step, answer: Response, state: LoginState) -> Rule:
        """The rule for the answer. Raises ContractError where there is none, Unreachable where it is not the API's."""
        rule = meaning(step, answer, state.values)
        if rule is None:
            said = extraction.said(self._auth.message, answer.body)
            raise ContractError(
                f"login: the profile has no meaning for the answer {answer.status} ({shape_of(answer)})"
                f"{f': {said}' if said else ''}"
            )
        foreign = not_the_api(rule, answer)
        if foreign:
            self.doubtful = step.sends_password
            raise Unreachable(f"login: {foreign}")
        return rule

    def _once_more(self, rule: Rule, step: Step, state: LoginState, clock_was_wrong: bool) -> bool:
        """Whether to send the step again. Nothing that may count as a refused password is: only a code alone."""
        if rule.then in ("refused", "later", "failing"):
            self.no_good_until = self._clock.monotonic() + APART
        if rule.then == "later" and not state.later and not (step.wants_code and self.codes.used_up):
            state.later = True
            return True
        if rule.then != "refused" or _cause(rule, step, state) is not Cause.CODE or self.codes.used_up:
            return False
        return clock_was_wrong or not self.codes.certain

    def _carry(self, rule: Rule, answer: Response, state: LoginState) -> None:
        for name, sources in rule.match.items():
            if extraction.text(answer, sources, state.values) != state.values.get(name):
                raise ContractError(f"login: `{name}` did not come back as it was sent; the answer is of another login")
        for name, sources in rule.carry.items():
            found = extraction.structure(answer, sources, state.values)
            state.values[name] = found
            if found is not None:
                state.carried[name] = found

    def _refuse(self, rule: Rule, step: Step, state: LoginState, answer: Response) -> None:
        """Raises what an end other than `done` means."""
        said = extraction.said(self._auth.message, answer.body)
        told = f"{answer.status}: {said}" if said else str(answer.status)
        if rule.then == "refused":
            cause = _cause(rule, step, state)
            raise LoginRefused(refusal(cause, step, told, with_code="code" in state.values), cause=cause)
        if rule.then == "locked":
            raise LoginRefused(
                f"login: the account is locked at the API or disabled ({told}); unlock it there, or wait until it is open again",
                cause=Cause.ACCOUNT,
            )
        if rule.then == "unsupported":
            raise LoginRefused(
                "login: the API wants a second factor that needs a person (push, SMS or e-mail); "
                "set the account to an authenticator app and mount its seed as the secret `totp_seed`",
                cause=Cause.ACCOUNT,
            )
        if rule.then in ("later", "failing"):
            self.doubtful = step.sends_password and rule.then == "failing"
            raise Unreachable(f"login: the API could not take the login ({told}); nothing is known of the credentials")

    async def _send(
        self, step: Step, sending: "_Sending", seed: Seed | None, deadline: Deadline, observer: Observer
    ) -> Response:
        try:
            answer = await sending.client.tries.repeat(
                "login",
                lambda attempt: sending.once(attempt, seed, deadline, observer),
                why=sending.why,
                deadline=deadline,
                observer=observer,
            )
            if answer.status in retry.MAYBE_TAKEN | retry.NOT_TAKEN and not sending.understood:
                raise Unreachable(f"login: the API answered {answer.status}")
        except Unreachable as error:
            self.doubtful = sending.lost > 0 and step.sends_password
            observer.emit(events.LoginFailed("login", str(error)))
            raise
        return answer

    async def keep_apart(self, stored: AccountState, deadline: Deadline) -> None:
        """Wait until a request that may be refused is far enough from the last one that was, in this run or another.

        Raises DeadlineExceeded.
        """
        here = self.no_good_until - self._clock.monotonic()
        elsewhere = stored.refused_at + APART - self._clock.time()
        wait = max(here, elsewhere if elsewhere <= APART else 0.0)
        if stored.refused_cause == Cause.CREDENTIALS and not self.repeats:
            # Another runner's login at the same moment may have been why, and both may have one schedule.
            wait = max(wait, random.uniform(0, SPREAD))
        if wait <= 0:
            return
        if wait >= deadline.remaining:
            raise DeadlineExceeded(f"login: the next try comes in {wait:.1f} s, after {deadline.what}")
        await self._clock.sleep(wait)


class _Sending:
    """One step on its way, made anew for each try: a code is stale by the next one.

    Where the answer was lost a step with a code, whose password is proven, is sent once more with the next code; never a
    third time, for the server may have counted each as a failure. A password that is not proven is not sent again.
    """

    def __init__(self, flow: LoginFlow, held: HeldState, step: Step, state: LoginState) -> None:
        self._flow = flow
        self._held = held
        self._step = step
        self._state = state
        self._careful = step.wants_code or step.sends_password
        self.understood = False  # whether a rule of the step fits the last answer
        self.lost = 0

    @property
    def client(self) -> Client:
        """Who sends it."""
        return self._state.browser.client(self._step.request, self._state.values)

    def _means(self, answer: Response) -> bool:
        return meaning(self._step, answer, self._state.values) is not None

    async def once(self, attempt: int, seed: Seed | None, deadline: Deadline, observer: Observer) -> Response:
        flow, held, step, values = self._flow, self._held, self._step, self._state.values
        before = held.state
        if self._careful:
            await flow.keep_apart(before, deadline)
        with_code = step.wants_code and (flow.codes.available(seed) or not step.may_lack_code)
        if with_code:
            unproven = step.sends_password and not self._state.proven
            values["code"] = await flow.codes.next(held, seed, deadline, observer, sure=unproven)
        browser = self._state.browser
        browser.skew = before.skew
        call = replace(browser.prepared("login", step.request, values), takes_redirect=_takes_redirect(step))
        try:
            answer = await browser.exchange(step.request, call, self.client, attempt, deadline, observer, self._means)
        except Unreachable as error:
            self._note(lost=error.sent)
            if with_code and not error.sent:
                flow.codes.give_back(held, before)
            raise
        if with_code and answer.status in TURNED_AWAY:
            flow.codes.give_back(held, before)
        flow.codes.measure_skew(held, answer, observer)
        self.understood = self._means(answer)
        if not self.understood:
            self._note(lost=answer.status in retry.MAYBE_TAKEN, repeated=answer.status in retry.NOT_TAKEN)
        return answer

    def _note(self, *, lost: bool, repeated: bool = False) -> None:
        """The request brought nothing; it may have been refused."""
        self.lost += lost
        if self._careful and (lost or repeated):
            self._flow.repeats += repeated
            self._flow.no_good_until = self._flow._clock.monotonic() + APART

    def why(self, failure: Unreachable | int) -> str | None:
        """The reason to send it again, or None."""
        if isinstance(failure, int) and self.understood:
            return None
        if self._careful:
            no_code_left = self._step.wants_code and self._flow.codes.used_up
            unproven = self._step.sends_password and not self._state.proven
            if no_code_left or self._flow.repeats > MAX_REPEATS or self.lost > (0 if unproven else 1):
                return None
        return retry.reason(failure, Safety.IDEMPOTENT)


def meaning(step: Step, answer: Response, values: Mapping[str, Any]) -> Rule | None:
    """The first of the step's rules that fits the answer."""
    for rule in step.answers:
        if extraction.meant(rule, answer, values):
            return rule
    return None


def shape_of(answer: Response) -> str:
    """What came, without its values."""
    return f"shape: {shape(answer.body)}" if answer.is_json else "not JSON"


def _takes_redirect(step: Step) -> bool:
    return step.request.follow or any(300 <= status < 400 for rule in step.answers for status in rule.status)


def _cause(rule: Rule, step: Step, state: LoginState) -> Cause:
    """What a refusal is about: what the profile says, else what the request sent that nothing has proven yet."""
    if rule.cause:
        return Cause(rule.cause)
    unproven = step.sends_password and not state.proven
    if step.wants_code:
        return Cause.CREDENTIALS if unproven else Cause.CODE
    if step.sends_password or not step.sends.isdisjoint({"username", "api_token"}):
        return Cause.PASSWORD
    return Cause.CLIENT if not step.sends.isdisjoint(OF_CLIENT) else Cause.TOKEN
