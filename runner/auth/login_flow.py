"""Runs the profile's login steps: sends a step, applies the rule for its response, passes values on, until the end."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from runner.auth.browser import Browser, Gate
from runner.auth.codes import MAX_CODES, Codes
from runner.auth.foreign import not_the_api
from runner.auth.random_values import random_values
from runner.auth.refusal_text import refusal
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

TURNED_AWAY = frozenset({425, 429})  # responses that say the request was not processed (RFC 8470, RFC 6585)
UNAVAILABLE = 503
OF_CLIENT = frozenset({"client_id", "client_secret", "client_basic", "client_assertion"})
PASSWORDS = ("username", "password", "api_token")  # a change of one of these makes it a different login
SPREAD = 5.0  # seconds: Keycloak refuses one of two simultaneous logins of a user
MAX_REPEATS = 3  # repeats of an unprocessed password or code in one run; most servers lock at five

_Secrets = tuple[Any, ...]  # the values of PASSWORDS


@dataclass(slots=True)
class LoginState:
    """State of one login: the last response, the carried values, and what is proven so far."""

    values: dict[str, Any]
    browser: Browser
    answer: Response | None = None
    carried: dict[str, Any] = field(default_factory=dict)
    used_code: bool = False
    proven: bool = False  # the password: a response accepted it
    later: bool = False  # a response asked to retry shortly


class LoginFlow:
    """Runs the login steps of one account."""

    def __init__(self, client: Client, auth: Auth, codes: Codes, clock: Clock, named: Mapping[str, Client]) -> None:
        """`client` serves the login's own address, the `named` ones those that steps name with `at`."""
        self._named = named
        self._client = client
        self._auth = auth
        self.codes = codes
        self._clock = clock
        self.repeats = 0
        self.no_good_until = 0.0  # monotonic: no request that may be refused is sent before
        self.doubtful = False  # the last login ended without a clear response to a password
        self._unclear: _Secrets | None = None  # of that login
        self._proven: _Secrets | None = None  # of the last completed login
        self.gate: tuple[str, Gate] | None = None

    def browser(self, kept: str | None = None) -> Browser:
        """Returns the browser of a new login, with the stored cookies `kept`."""
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
        """Runs the steps until one is done; `values` are for the templates, `cookies` are the stored ones.

        Raises LoginRefused, ContractError, Unreachable, DeadlineExceeded; LoginUnclear for a password that an earlier login
        of this run sent without a clear response and that no login of this run has proven: it may have been refused."""
        with self._proving(values):
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
            raise ContractError(
                "login: the login steps repeat without end; check where the profile's answers lead (`then`)"
            )

    @contextmanager
    def _proving(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Records whether this login proves the secrets or leaves them in doubt (decision 0162). Raises LoginUnclear."""
        self.doubtful = False
        secrets = tuple(values.get(name) for name in PASSWORDS)
        self._check_unclear(secrets)
        try:
            yield
        finally:
            if self.doubtful:
                self._unclear = secrets
        self._proven = secrets

    def _check_unclear(self, secrets: _Secrets) -> None:
        if secrets == self._unclear != self._proven:
            raise LoginUnclear(
                "login: this run sent the password once without a clear response, which may count as a refusal; it is not "
                "sent again in this run, so that the account is not locked"
            )

    def _meaning(self, step: Step, answer: Response, state: LoginState) -> Rule:
        """Returns the rule for the response. Raises ContractError where no rule matches, Unreachable where it is not
        the API's."""
        rule = meaning(step, answer, state.values)
        foreign = not_the_api(rule, answer, lambda: rule is not None and self._used(rule, answer, state))
        if foreign:
            self.doubtful = step.sends_password
            raise Unreachable(f"login: {foreign}")
        if rule is None:
            said = extraction.said(self._auth.message, answer.body)
            raise ContractError(
                f"login: no rule of the profile matches the response {answer.status} ({shape_of(answer)})"
                f"{f': {said}' if said else ''}"
            )
        return rule

    def _used(self, rule: Rule, answer: Response, state: LoginState) -> bool:
        """Whether the page gives something that the login needs: a cookie, a redirect, a value, or the form of the next step."""
        following = self._auth.steps.get(rule.then)
        if following is not None and following.request.submit is not None:
            return state.browser.has_form(following.request.submit, state.values)
        places = [*rule.carry.values()]
        if rule.then == "done" and self._auth.session is not None:
            places.append(self._auth.session.access_token or ())
        return state.browser.moved or any(extraction.stands_in(answer, place) for place in places)

    def _once_more(self, rule: Rule, step: Step, state: LoginState, clock_was_wrong: bool) -> bool:
        """Whether to send the step again. A request that may count as a refused password is not repeated: only a code is."""
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
                raise ContractError(
                    f"login: `{name}` differs from the sent value; the response belongs to another login"
                )
        for name, sources in rule.carry.items():
            found = extraction.structure(answer, sources, state.values)
            state.values[name] = found
            if found is not None:
                state.carried[name] = found

    def _refuse(self, rule: Rule, step: Step, state: LoginState, answer: Response) -> None:
        """Raises the error of an end other than `done`."""
        said = extraction.said(self._auth.message, answer.body)
        reported = f"{answer.status}: {said}" if said else str(answer.status)
        if rule.then == "refused":
            cause = _cause(rule, step, state)
            raise LoginRefused(refusal(cause, step, reported, with_code="code" in state.values), cause=cause)
        if rule.then == "locked":
            raise LoginRefused(
                f"login: the account is locked or disabled at the API ({reported}); unlock it or wait",
                cause=Cause.ACCOUNT,
            )
        if rule.then == "unsupported":
            raise LoginRefused(
                "login: the API requires a second factor that needs a person (push, SMS or e-mail); "
                "set up an authenticator app for the account and mount its seed as the secret `totp_seed`",
                cause=Cause.ACCOUNT,
            )
        if rule.then in ("later", "failing"):
            self.doubtful = step.sends_password and rule.then == "failing"
            raise Unreachable(f"login: the API could not process the login ({reported}); no verdict on the credentials")

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
        """Waits until the last refused request, of this run or another, is long enough ago.

        Raises DeadlineExceeded.
        """
        here = self.no_good_until - self._clock.monotonic()
        elsewhere = stored.refused_at + APART - self._clock.time()
        wait = max(here, elsewhere if elsewhere <= APART else 0.0)
        if stored.refused_cause == Cause.CREDENTIALS and not self.repeats:
            # Another runner's simultaneous login may have been the cause, and both may have one schedule.
            wait = max(wait, random.uniform(0, SPREAD))
        if wait <= 0:
            return
        if wait >= deadline.remaining:
            raise DeadlineExceeded(f"login: the next try is due in {wait:.1f} s, after {deadline.what}")
        await self._clock.sleep(wait)


class _Sending:
    """Sends one step, built anew for each try: a code expires between tries.

    Where the response was lost, a step with a code and a proven password is sent once more with the next code; never a
    third time, since the server may have counted each as a failure. A password that is not proven is not sent again.
    """

    def __init__(self, flow: LoginFlow, held: HeldState, step: Step, state: LoginState) -> None:
        self._flow = flow
        self._held = held
        self._step = step
        self._state = state
        self._careful = step.wants_code or step.sends_password
        self.understood = False  # whether a rule of the step matches the last response
        self.lost = 0

    @property
    def client(self) -> Client:
        """The client that sends it."""
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
        if with_code and _turned_away(answer):
            flow.codes.give_back(held, before)
        flow.codes.measure_skew(held, answer, observer)
        self.understood = self._means(answer)
        if not self.understood:
            self._note(lost=answer.status in retry.MAYBE_TAKEN, repeated=answer.status in retry.NOT_TAKEN)
        return answer

    def _note(self, *, lost: bool, repeated: bool = False) -> None:
        """Handles a request without a usable response; it may have been refused."""
        self.lost += lost
        if self._careful and (lost or repeated):
            self._flow.repeats += repeated
            self._flow.no_good_until = self._flow._clock.monotonic() + APART

    def why(self, failure: Unreachable | int) -> str | None:
        """Returns the reason to send the step again, or None."""
        if isinstance(failure, int) and self.understood:
            return None
        if self._careful:
            no_code_left = self._step.wants_code and self._flow.codes.used_up
            unproven = self._step.sends_password and not self._state.proven
            if no_code_left or self._flow.repeats > MAX_REPEATS or self.lost > (0 if unproven else 1):
                return None
        return retry.reason(failure, Safety.IDEMPOTENT)


def meaning(step: Step, answer: Response, values: Mapping[str, Any]) -> Rule | None:
    """Returns the first of the step's rules that matches the response."""
    for rule in step.answers:
        if extraction.meant(rule, answer, values):
            return rule
    return None


def _turned_away(answer: Response) -> bool:
    """Whether the server says that it did not process the request, so that its code is unused.

    Of a 503 only one with Retry-After says so (RFC 9110, 15.6.4): a proxy may send one when its server was slow.
    """
    return answer.status in TURNED_AWAY or (answer.status == UNAVAILABLE and answer.retry_after is not None)


def shape_of(answer: Response) -> str:
    """Describes the response without its values."""
    return f"shape: {shape(answer.body)}" if answer.is_json else "not JSON"


def _takes_redirect(step: Step) -> bool:
    return step.request.follow or any(300 <= status < 400 for rule in step.answers for status in rule.status)


def _cause(rule: Rule, step: Step, state: LoginState) -> Cause:
    """Returns the cause of a refusal: the profile's, else what the request sent that is not proven yet."""
    if rule.cause:
        return Cause(rule.cause)
    unproven = step.sends_password and not state.proven
    if step.wants_code:
        return Cause.CREDENTIALS if unproven else Cause.CODE
    if step.sends_password or not step.sends.isdisjoint({"username", "api_token"}):
        return Cause.PASSWORD
    return Cause.CLIENT if not step.sends.isdisjoint(OF_CLIENT) else Cause.TOKEN
