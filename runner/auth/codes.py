"""One-time codes of a run: limits their number, and tracks their source and the server's clock."""

from collections.abc import Callable

from runner.auth import clocks
from runner.auth.code_sources.interface import CodeSource, CodeWanted
from runner.auth.code_sources.totp import TotpSource
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError
from runner.events import events
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.state.interface import HeldState
from runner.state.record import MAX_SKEW, AccountState

MAX_CODES = 2  # one-time codes per run: one, and another where the first failed because of a wrong clock


class Codes:
    """The codes of one account in one run. Used codes and the server's skew are stored in the state."""

    def __init__(
        self, base_url: str, clock: Clock, add_secret: Callable[[str], None], source: CodeSource | None = None
    ) -> None:
        """`add_secret` receives each code, so that the redactor knows it. Without a `source`: TOTP."""
        self._trust_date = clocks.trusted(base_url)
        self._add_secret = add_secret
        self._source = source or TotpSource(clock)
        self._last = ""
        self._unspent: str | None = None  # returned unused, and still valid
        self.sent = 0
        self.certain = False
        self.dated = False  # whether a response stated the server's time

    @property
    def used_up(self) -> bool:
        """Whether this run may send no more codes."""
        return self.sent >= (1 if self._source.once else MAX_CODES)

    @property
    def by_person(self) -> bool:
        """Whether a login needs a person."""
        return self._source.by_person

    def available(self, seed: Seed | None) -> bool:
        """Whether a code is available where the API asks only accounts with a second factor."""
        return seed is not None or not isinstance(self._source, TotpSource)

    async def begin(self, deadline: Deadline) -> None:
        """Starts a login. Raises what the source raises: then nothing was sent."""
        await self._source.begin(deadline)

    async def next(
        self, held: HeldState, seed: Seed | None, deadline: Deadline, observer: Observer, *, sure: bool = False
    ) -> str:
        """Returns a code that was never sent, recorded as used before it is sent.

        `sure`: only a code that no other process can have used. `certain` then states whether a refusal of this code proves
        that the secret is wrong. Raises AuthenticationError, also after too many codes, and what the source raises.
        """
        if self.used_up:
            raise AuthenticationError(
                f"login: {self.sent} one-time codes were sent in this run already; more could lock the account. "
                "Does the API revoke its tokens? See the log"
            )
        unspent, self._unspent = self._unspent, None
        if unspent is None:
            made = await self._source.next(CodeWanted(held, deadline, observer, seed, sure))
            if not (made.text and made.text.isascii() and made.text.isprintable()):
                raise AuthenticationError("login: the source of one-time codes returned an invalid code")
            unspent, self.certain = made.text, made.certain
            self._add_secret(unspent)
        self.sent += 1
        self._last = unspent
        return unspent

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Marks the last code as certainly not evaluated: it may be used again."""
        if self._source.stale:
            self._source.give_back(held, before)
        else:
            self._unspent = self._last
        self.sent -= 1

    def tell_end(self, seconds: float | None, observer: Observer) -> None:
        """Reports when the session ends, where a person must log in then; None: a refresh renews it, or no end is known."""
        if seconds is not None and self.by_person:
            observer.emit(events.SessionEnds(seconds))

    def measure_skew(self, held: HeldState, answer: Response, observer: Observer) -> None:
        """Stores the server's clock from the Date header."""
        skew = clocks.by_date(answer) if self._trust_date else None
        if skew is None:
            return
        self.dated = True
        if abs(skew) <= MAX_SKEW:
            clocks.note(held, skew, observer)
