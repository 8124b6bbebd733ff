"""Codes by counter (RFC 4226) from the secret `hotp_seed`. The counter is kept in the state before a code leaves."""

import hashlib
import re
from urllib.parse import parse_qs, urlsplit

from runner.auth import totp
from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted
from runner.auth.totp import Seed
from runner.clock import Deadline
from runner.errors import SecretError, UsageError
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
    if options.inbox is None:
        raise UsageError(
            "code.source: hotp counts its codes, and a counter that is forgotten locks the account; set state.dir, "
            "state.kubernetes_secret or state.url"
        )
    text = options.reader.require(NAME)
    options.add_secret(text)
    seed, first = parse(text)
    return HotpSource(seed, first)


def parse(text: str) -> tuple[Seed, int]:
    """Seed and first counter from Base32 (counter 0) or an `otpauth://hotp` URI. Raises SecretError."""
    text = text.strip()
    query: dict[str, list[str]] = {}
    if text.lower().startswith("otpauth:"):
        try:
            parts = urlsplit(text)
            query = {name.lower(): values for name, values in parse_qs(parts.query).items()}
        except ValueError:
            raise SecretError(f"{NAME}: not a valid otpauth:// URI") from None
        if parts.netloc.lower() != "hotp":
            raise SecretError(f"{NAME}: the otpauth:// URI is not of type hotp; a time-based seed is `totp_seed`")
    first = query.get("counter", ["0"])[-1]
    if not re.fullmatch(r"[0-9]{1,10}", first) or int(first) >= MAX_COUNTER:
        raise SecretError(f"{NAME}: `counter` in the otpauth:// URI must be 0 to {MAX_COUNTER - 1}")
    return _seed(text, query), int(first)


def _seed(text: str, query: dict[str, list[str]]) -> Seed:
    """The parameters that both types share are read by the one parser of TOTP seeds."""
    if query:
        plain = "&".join(f"{name}={query[name][-1]}" for name in ("secret", "algorithm", "digits") if name in query)
        text = f"otpauth://totp/x?{plain}"
    try:
        seed = totp.parse_seed(text)
    except SecretError as error:
        raise SecretError(str(error).replace("totp_seed", NAME)) from None
    return seed
