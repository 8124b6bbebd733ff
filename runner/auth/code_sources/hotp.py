"""Codes by counter (RFC 4226) from the secret `hotp_seed`. The counter is stored in the state before a code is sent."""

import hashlib
import re

from runner.auth import totp
from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted, lasting
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import SecretError
from runner.state.interface import HeldState
from runner.state.record import AccountState

NAME = "hotp_seed"
MAX_COUNTER = 2**31


class HotpSource:
    """Continues the counter of the state, or the URI's `counter` where the state has none for this seed."""

    once = False
    stale = True
    by_person = False

    def __init__(self, seed: Seed, first: int) -> None:
        """`first` is the counter of the first code."""
        self._seed = seed
        self._first = first
        self._id = hashlib.sha256(b"hotp " + seed.key).hexdigest()

    async def begin(self, deadline: Deadline) -> None:
        """Does nothing: counters have no time."""

    async def next(self, wanted: CodeWanted) -> Code:
        """Returns the code of the next counter, which is first stored as used."""
        held = wanted.held
        counter = self._counter(held.state)
        held.change(counter=counter + 1, counter_seed=self._id, answered=False)
        await held.keep()
        return Code(totp.code(self._seed, counter))

    def _counter(self, stored: AccountState) -> int:
        known = stored.counter if stored.counter_seed == self._id else None
        return self._first if known is None else known

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Allows the counter to be used again."""
        held.change(counter=before.counter, counter_seed=before.counter_seed, answered=before.answered)

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """Does nothing: the seed was read when the account was opened."""
        return f"the seed is usable; without a stored counter, the first one is {self._first}"


def hotp_source(options: CodeOptions) -> HotpSource:
    """Returns the source. Raises SecretError for an unusable seed, UsageError without persistent state."""
    lasting(options, "hotp counts its codes, and a lost counter locks the account")
    text = options.reader.require(NAME)
    options.add_secret(text)
    seed, first = parse(text)
    return HotpSource(seed, first)


def parse(text: str) -> tuple[Seed, int]:
    """Parses seed and first counter from Base32 (counter 0) or an `otpauth://hotp` URI. Raises SecretError."""
    seed, parameters = totp.read_seed(text, "hotp")
    first = parameters.get("counter", "0")
    if not re.fullmatch(r"[0-9]{1,10}", first) or int(first) >= MAX_COUNTER:
        raise SecretError(f"{NAME}: `counter` in the otpauth:// URI must be 0 to {MAX_COUNTER - 1}")
    return seed, int(first)
