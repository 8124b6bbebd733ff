"""One-time codes on the wire: which time step is sent when, by the server's clock, and how many in one run."""

from collections.abc import Callable
from urllib.parse import urlsplit

from runner.auth import totp
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError, DeadlineExceeded, SecretError
from runner.events import events
from runner.events.observer import Observer
from runner.http import retry
from runner.http.messages import Response
from runner.state.interface import HeldState
from runner.state.record import MAX_SKEW, AccountState
from runner.url import is_loopback

MAX_CODES = 2  # one-time codes in one run: one, and one more where the first met a wrong clock


class Codes:
    """The codes of one account in one run. Used steps and the server's skew are kept in the store."""

    def __init__(self, base_url: str, clock: Clock, add_secret: Callable[[str], None]) -> None:
        """`add_secret` is told each code, so that the redactor knows it."""
        parts = urlsplit(base_url)
        self._trust_date = parts.scheme == "https" or is_loopback(parts.hostname)
        self._clock = clock
        self._add_secret = add_secret
        self.sent = 0
        self.certain = False
        self.dated = False  # whether an answer told the server's time

    @property
    def used_up(self) -> bool:
        """Whether this run may send no more."""
        return self.sent >= MAX_CODES

    async def next(
        self, held: HeldState, seed: Seed | None, deadline: Deadline, observer: Observer, *, sure: bool = False
    ) -> str:
        """A code of a step that was never sent; waits for its time. The step is kept as used before the code leaves.

        `sure`: only of a step that nobody can have used before us; without memory of the current one the next is
        waited for. Afterwards `certain` tells whether a refusal of this code would say anything of the seed.

        Raises SecretError without a seed, AuthenticationError after too many codes, DeadlineExceeded.
        """
        if seed is None:
            raise SecretError(
                "login: the API wants a one-time code; mount the account's TOTP seed (Base32 or otpauth:// URI) "
                "as the secret `totp_seed`"
            )
        if self.used_up:
            raise AuthenticationError(
                f"login: {MAX_CODES} one-time codes were sent in this run already; more could lock the account. "
                "Does the API take back its tokens? See the log"
            )
        stored = held.state
        now = self._clock.time() + stored.skew
        choice = totp.choose_step(seed, now, _last_step(seed, stored))
        if sure and not _remembers(seed, stored, choice.step):
            choice = totp.choose_step(seed, now, max(totp.step_at(seed, now), choice.step - 1))
        if choice.wait > 0:
            await self._wait(choice, deadline, observer)
        self.sent += 1
        self.certain = _remembers(seed, stored, choice.step) and stored.answered
        held.change(last_step=choice.step, since=stored.since or self._clock.time(), answered=False)
        await held.keep()
        code = totp.code(seed, choice.step)
        self._add_secret(code)
        return code

    async def _wait(self, choice: totp.Choice, deadline: Deadline, observer: Observer) -> None:
        if choice.wait >= deadline.remaining:
            raise DeadlineExceeded(
                f"login: the next one-time code comes in {choice.wait:.0f} s, but {deadline.what} ends in "
                f"{deadline.remaining:.0f} s"
            )
        observer.emit(events.CodeWait(round(choice.wait, 3), choice.reason))
        await self._clock.sleep(choice.wait)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The last code was certainly not looked at: it may be used again."""
        held.change(last_step=before.last_step, answered=before.answered)
        self.sent -= 1

    def measure_skew(self, held: HeldState, answer: Response, observer: Observer) -> None:
        """Server clock minus ours, from the Date header, against the middle of the exchange (RFC 5905's offset)."""
        date = retry.http_date(answer.headers.get("date"))
        if date is None or not self._trust_date or "age" in answer.headers:
            return
        self.dated = True
        skew = date + 0.5 - (answer.sent_at + answer.received_at) / 2  # Date is cut to the second
        if abs(skew) > MAX_SKEW:
            return
        skew = 0.0 if abs(skew) < 2.0 else round(skew, 1)
        if abs(held.state.skew - skew) >= 1.0:
            held.change(skew=skew)
        if skew:
            observer.emit(events.ClockSkew(skew))


def _remembers(seed: Seed, stored: AccountState, step: int) -> bool:
    """Whether the state would know of a code of that step that was sent before: it is older than the step."""
    if not stored.since:
        return False
    return totp.step_at(seed, stored.since + stored.skew) < step


def _last_step(seed: Seed, stored: AccountState) -> int | None:
    if not stored.assume_used_until:
        return stored.last_step
    return max(stored.last_step or 0, totp.step_at(seed, stored.assume_used_until + stored.skew))
