"""Codes by time (RFC 6238) from the secret `totp_seed`. Which step is sent when, by the server's clock."""

from runner.auth import totp
from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, SecretError
from runner.events import events
from runner.state.interface import HeldState
from runner.state.record import AccountState


class TotpSource:
    """Chooses the time step; the used step is kept in the state."""

    once = False
    stale = True
    by_person = False

    def __init__(self, clock: Clock) -> None:
        """The seed comes with each code that is wanted: it is the login's, of which an account may have several."""
        self._clock = clock

    async def begin(self, deadline: Deadline) -> None:
        """Nothing is older."""

    async def next(self, wanted: CodeWanted) -> Code:
        """A code of a step that was never sent; waits for its time. The step is kept as used before the code leaves.

        With `sure`, and without memory of the current step, the next one is waited for. Raises SecretError without a seed.
        """
        seed, held = wanted.seed, wanted.held
        if seed is None:
            raise SecretError(
                "login: the API wants a one-time code; mount the account's TOTP seed (Base32 or otpauth:// URI) "
                "as the secret `totp_seed`"
            )
        stored = held.state
        now = self._clock.time() + stored.skew
        choice = totp.choose_step(seed, now, _last_step(seed, stored))
        if wanted.sure and not _remembers(seed, stored, choice.step):
            choice = totp.choose_step(seed, now, max(totp.step_at(seed, now), choice.step - 1))
        if choice.wait > 0:
            await self._wait(choice, wanted)
        certain = _remembers(seed, stored, choice.step) and stored.answered
        held.change(last_step=choice.step, since=stored.since or self._clock.time(), answered=False)
        await held.keep()
        return Code(totp.code(seed, choice.step), certain)

    async def _wait(self, choice: totp.Choice, wanted: CodeWanted) -> None:
        deadline = wanted.deadline
        if choice.wait >= deadline.remaining:
            raise DeadlineExceeded(
                f"login: the next one-time code comes in {choice.wait:.0f} s, but {deadline.what} ends in "
                f"{deadline.remaining:.0f} s"
            )
        wanted.observer.emit(events.CodeWait(round(choice.wait, 3), choice.reason))
        await self._clock.sleep(choice.wait)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The step may be used again."""
        held.change(last_step=before.last_step, answered=before.answered)

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """The seed is read with the other secrets, and judged there."""
        return "codes are made from the secret totp_seed, where the API asks for one"


def _remembers(seed: Seed, stored: AccountState, step: int) -> bool:
    """Whether the state would know of a code of that step that was sent before: it is older than the step."""
    if not stored.since:
        return False
    return totp.step_at(seed, stored.since + stored.skew) < step


def _last_step(seed: Seed, stored: AccountState) -> int | None:
    if not stored.assume_used_until:
        return stored.last_step
    return max(stored.last_step or 0, totp.step_at(seed, stored.assume_used_until + stored.skew))


def totp_source(options: CodeOptions) -> TotpSource:
    """The source."""
    return TotpSource(options.clock)
