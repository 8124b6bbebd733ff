"""Codes by counter (RFC 4226) from the secret `hotp_seed`. The counter is kept in the state before a code leaves."""

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
    """Counts on from the state, or from the URI's `counter` where the state knows nothing of this seed."""

    once = False
    stale = True
    by_person = False

    def __init__(self, seed: Seed, first: int) -> None:
        """`first` is the counter of the first code."""
        self._seed = seed
        self._first = first
        self._id = hashlib.sha256(b"hotp " + seed.key).hexdigest()

    async def begin(self, deadline: Deadline) -> None:
        """Nothing is older."""

    async def next(self, wanted: CodeWanted) -> Code:
        """The code of the next counter, which is kept as used first."""
        held = wanted.held
        counter = self._counter(held.state)
        held.change(counter=counter + 1, counter_seed=self._id, answered=False)
        await held.keep()
        return Code(totp.code(self._seed, counter))

    def _counter(self, stored: AccountState) -> int:
        known = stored.counter if stored.counter_seed == self._id else None
        return self._first if known is None else known

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The counter may be used again."""
        held.change(counter=before.counter, counter_seed=before.counter_seed, answered=before.answered)

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """The seed was read when the account was opened."""
        return f"the seed is fit for use; without memory of it the first counter is {self._first}"


def hotp_source(options: CodeOptions) -> HotpSource:
    """The source. Raises SecretError for an unfit seed, UsageError without a state that is kept."""
    lasting(options, "hotp counts its codes, and a counter that is forgotten locks the account")
    text = options.reader.require(NAME)
    options.add_secret(text)
    seed, first = parse(text)
    return HotpSource(seed, first)


def parse(text: str) -> tuple[Seed, int]:
    """Seed and first counter from Base32 (counter 0) or an `otpauth://hotp` URI. Raises SecretError."""
    seed, told = totp.read_seed(text, "hotp")
    first = told.get("counter", "0")
    if not re.fullmatch(r"[0-9]{1,10}", first) or int(first) >= MAX_COUNTER:
        raise SecretError(f"{NAME}: `counter` in the otpauth:// URI must be 0 to {MAX_COUNTER - 1}")
    return seed, int(first)
