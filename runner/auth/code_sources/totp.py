"""Codes by time (RFC 6238) from the secret `totp_seed`. Decides which step is sent when, by the server's clock.

The used step is kept twice: with the account, and by the seed (decision 0161). One user may be an account under several
spellings of its name or of the API's address, and two accounts may share a seed; a server takes each code once.
"""

import hashlib

from runner.auth import totp
from runner.auth.code_sources.interface import BySeed, Code, CodeOptions, CodeWanted
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, SecretError
from runner.events import events
from runner.state.interface import AccountStore, HeldState
from runner.state.record import AccountState


class TotpSource:
    """Chooses the time step; the used step is stored in the state."""

    once = False
    stale = True
    by_person = False

    def __init__(self, clock: Clock, by_seed: BySeed | None = None) -> None:
        """The seed comes with each request for a code: it belongs to a login, and an account may have several.

        `by_seed` opens the stored state of a seed; None: only the account's own record counts.
        """
        self._clock = clock
        self._by_seed = by_seed
        self._kept: dict[str, AccountStore] = {}
        self._unspent: dict[
            str, tuple[int, int | None]
        ] = {}  # of a seed: a step that was returned unused, and the one before it
        self._last: tuple[str, int, int | None] | None = (
            None  # the seed's name, the step that was sent, the one before it
        )

    async def begin(self, deadline: Deadline) -> None:
        """Does nothing: the step identifies older codes."""

    async def next(self, wanted: CodeWanted) -> Code:
        """Returns the code of a step that was never sent; waits until it is due. The step is stored as used before it
        is sent.

        With `sure`, and without a record of the current step, it waits for the next one. Raises SecretError without a
        seed.
        """
        seed = wanted.seed
        if seed is None:
            raise SecretError(
                "login: the API requires a one-time code; mount the account's TOTP seed (Base32 or otpauth:// URI) "
                "as the secret `totp_seed`"
            )
        if self._by_seed is None:
            return await self._code(wanted, seed, None)
        name = fingerprint(seed)
        kept = self._kept.setdefault(name, self._by_seed(name))
        async with kept.hold(wanted.deadline) as of_seed:
            used = self._used(name, of_seed.state.last_step)
            code = await self._code(wanted, seed, used)
            step = wanted.held.state.last_step
            assert step is not None
            of_seed.change(last_step=step)
            self._last = (name, step, used)
            return code

    def _used(self, name: str, kept: int | None) -> int | None:
        """Returns the last used step of the seed; a step that this run returned unused, and no process used since, is ignored."""
        step, before = self._unspent.pop(name, (None, None))
        return before if step is not None and kept == step else kept

    async def _code(self, wanted: CodeWanted, seed: Seed, used: int | None) -> Code:
        """Returns a code of a step after `used` and after the account's own."""
        held = wanted.held
        stored = held.state
        now = self._clock.time() + stored.skew
        choice = totp.choose_step(seed, now, _latest(seed, now, _last_step(seed, stored), used))
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
                f"login: the next one-time code is due in {choice.wait:.0f} s, but {deadline.what} ends in "
                f"{deadline.remaining:.0f} s"
            )
        wanted.observer.emit(events.CodeWait(round(choice.wait, 3), choice.reason))
        await self._clock.sleep(choice.wait)

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Allows the step to be used again."""
        held.change(last_step=before.last_step, answered=before.answered)
        if self._last is not None:
            name, step, used = self._last
            self._unspent[name] = (step, used)

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """Does nothing: the seed is read and validated with the other secrets."""
        return "codes are generated from the secret totp_seed, where the API asks for one"


def _remembers(seed: Seed, stored: AccountState, step: int) -> bool:
    """Whether the state would know an earlier use of that step: the state is older than the step."""
    if not stored.since:
        return False
    return totp.step_at(seed, stored.since + stored.skew) < step


def fingerprint(seed: Seed) -> str:
    """Returns the storage name of a seed's used steps. A seed has at least 80 random bits, so a hash reveals nothing."""
    parameters = f"totp {seed.period} {seed.digits} {seed.algorithm} ".encode()
    return hashlib.sha256(parameters + seed.key).hexdigest()[:32]


def _latest(seed: Seed, now: float, *steps: int | None) -> int | None:
    """Returns the latest of the used steps, except one that a clock far ahead wrote."""
    far = totp.step_at(seed, now + totp.FAR_AHEAD)
    return max((step for step in steps if step is not None and step <= far), default=None)


def _last_step(seed: Seed, stored: AccountState) -> int | None:
    if not stored.assume_used_until:
        return stored.last_step
    return max(stored.last_step or 0, totp.step_at(seed, stored.assume_used_until + stored.skew))


def totp_source(options: CodeOptions) -> TotpSource:
    """The source."""
    return TotpSource(options.clock, options.by_seed)
