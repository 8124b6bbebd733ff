"""The walk through the profile's login steps: send one, find what its answer means, carry values on, until the end."""

from dataclasses import dataclass, field, replace
from typing import Any

from runner.auth.codes import MAX_CODES, Codes
from runner.auth.credentials import Credentials
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import ContractError, LoginRefused, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.http import retry
from runner.http.client import Client
from runner.http.messages import Response, prepare
from runner.http.retry import Safety
from runner.profile import extraction
from runner.profile.expressions import find, shape
from runner.profile.models import Answer as Rule
from runner.profile.models import Auth, Step
from runner.state.interface import HeldState

TURNED_AWAY = frozenset({425, 429})  # answers that say the request was not looked at (RFC 8470, RFC 6585)


@dataclass(slots=True)
class LoginState:
    """Where a walk has come to: the last answer, what was carried so far, and whether a code was used."""

    values: dict[str, Any]
    answer: Response | None = None
    carried: dict[str, str] = field(default_factory=dict)
    used_code: bool = False


class LoginFlow:
    """One account's way through the steps."""

    def __init__(self, client: Client, auth: Auth, codes: Codes, account: str) -> None:
        """`account` is the value of `${account}` in the profile's templates."""
        self._client = client
        self._auth = auth
        self._codes = codes
        self._account = account

    async def go(self, held: HeldState, credentials: Credentials, deadline: Deadline, observer: Observer) -> LoginState:
        """From the first step until one says done. Raises LoginRefused, ContractError, Unreachable, DeadlineExceeded."""
        state = LoginState({"account": self._account, **credentials.values})
        name = next(iter(self._auth.steps))
        for _ in range(2 * len(self._auth.steps) + MAX_CODES):
            step = self._auth.steps[name]
            skew = held.state.skew
            sending = _Sending(self._client, held, self._codes, step, state)
            answer = state.answer = await self._send(step, sending, credentials.seed, deadline, observer)
            clock_was_wrong = abs(held.state.skew - skew) >= 2.0
            state.used_code = state.used_code or step.wants_code
            rule = meaning(step, answer)
            if rule is None:
                raise ContractError(
                    f"login: the profile has no meaning for the answer {answer.status} ({shape_of(answer)})"
                )
            if rule.then == "refused" and step.wants_code and clock_was_wrong and not self._codes.used_up:
                continue  # once more, with a code for the server's clock
            self._refuse(rule, step, answer)
            self._carry(rule, answer, state)
            if rule.then == "done":
                return state
            name = rule.then
        raise ContractError("login: the API sent the login in a circle")

    def _carry(self, rule: Rule, answer: Response, state: LoginState) -> None:
        for name, sources in rule.carry.items():
            found = extraction.text(answer, sources, state.carried)
            state.values[name] = found
            if found is not None:
                state.carried[name] = found

    def _refuse(self, rule: Rule, step: Step, answer: Response) -> None:
        if rule.then == "refused":
            raise LoginRefused(_refusal(self._auth, step, answer))
        if rule.then == "locked":
            raise LoginRefused(
                "login: the account is locked at the API; unlock it there, or wait until it is open again"
            )
        if rule.then == "unsupported":
            raise LoginRefused(
                "login: the API wants a second factor that needs a person (push, SMS or e-mail); "
                "set the account to an authenticator app and mount its seed as the secret `totp_seed`"
            )

    async def _send(
        self, step: Step, sending: "_Sending", seed: Seed | None, deadline: Deadline, observer: Observer
    ) -> Response:
        try:
            answer = await self._client.repeat(
                "login",
                lambda attempt: sending.once(attempt, seed, deadline, observer),
                why=sending.why,
                deadline=deadline,
                observer=observer,
            )
        except Unreachable as error:
            observer.emit(events.LoginFailed("login", str(error)))
            raise
        if answer.status in retry.MAYBE_TAKEN | retry.NOT_TAKEN and meaning(step, answer) is None:
            observer.emit(events.LoginFailed("login", f"the API answered {answer.status}"))
            raise Unreachable(f"login: the API answered {answer.status}")
        return answer


class _Sending:
    """One step on its way, made anew for each try: a code is stale by the next one.

    Where the answer was lost the step is sent once more, with the next code; never a third time, for the server may
    have counted each as a failure.
    """

    def __init__(self, client: Client, held: HeldState, codes: Codes, step: Step, state: LoginState) -> None:
        self._client = client
        self._held = held
        self._codes = codes
        self._step = step
        self._values = state.values
        self._lost = 0

    async def once(self, attempt: int, seed: Seed | None, deadline: Deadline, observer: Observer) -> Response:
        before = self._held.state
        if self._step.wants_code:
            self._values["code"] = await self._codes.next(self._held, seed, deadline, observer)
        call = replace(prepare("login", self._step.request, self._values), takes_redirect=_takes_redirect(self._step))
        try:
            answer = await self._client.exchange(call, attempt, deadline, observer)
        except Unreachable as error:
            self._lost += error.sent
            if self._step.wants_code and not error.sent:
                self._codes.give_back(self._held, before)
            raise
        if self._step.wants_code and answer.status in TURNED_AWAY:
            self._codes.give_back(self._held, before)
        self._codes.measure_skew(self._held, answer, observer)
        self._lost += answer.status in retry.MAYBE_TAKEN
        return answer

    def why(self, failure: Unreachable | int) -> str | None:
        """The reason to send it again, or None."""
        no_code_left = self._step.wants_code and self._codes.used_up
        return None if self._lost > 1 or no_code_left else retry.reason(failure, Safety.IDEMPOTENT)


def meaning(step: Step, answer: Response) -> Rule | None:
    """The first of the step's rules that fits the answer."""
    for rule in step.answers:
        if answer.status in rule.status and (rule.when is None or find(answer.body, rule.when)):
            return rule
    return None


def shape_of(answer: Response) -> str:
    """What came, without its values."""
    return f"shape: {shape(answer.body)}" if answer.is_json else "not JSON"


def _takes_redirect(step: Step) -> bool:
    return any(300 <= status < 400 for rule in step.answers for status in rule.status)


def _refusal(auth: Auth, step: Step, answer: Response) -> str:
    if step.wants_code:
        return (
            f"login: the one-time code was refused ({answer.status}); check the secret `totp_seed` "
            "(is it this account's, are digits, period and algorithm right?) and the clocks of both machines"
        )
    sent = [name for name in auth.secrets if name not in ("totp_seed", "refresh_token")]
    listed = " and ".join(f"`{name}`" for name in sent)
    return f"login: the {' or '.join(sent)} was refused ({answer.status}); check the secrets {listed}"
