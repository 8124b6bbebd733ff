"""Combines several logins. In a chain, each login starts with the session of the previous one, and requests carry the last
session. With a gateway, every request to the API carries its session in addition to those of the logins behind it.
"""
# Decision 0111.

from runner.auth.browser import with_cookies
from runner.auth.interface import SessionProvider
from runner.auth.session import LoginSessionProvider
from runner.clock import Deadline
from runner.errors import Cause, LoginRefused
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import UserSession
from runner.state.record import AccountState


class _Both:
    """Operations that apply to both of two logins. The account's own data is that of the last login."""

    static = False

    def __init__(self, first: SessionProvider, last: SessionProvider) -> None:
        self._first = first
        self._last = last
        self._ended: UserSession | None = None  # the first login's session that the API reported as ended

    @property
    def name(self) -> str:
        """The last login's name."""
        return self._last.name

    @property
    def parts(self) -> tuple[SessionProvider, ...]:
        """The logins in order."""
        return (*self._first.parts, *self._last.parts)

    @property
    def ends(self) -> bool:
        """Whether one of the logins started a session that is not stored."""
        return self._first.ends or self._last.ends

    @property
    def stored(self) -> AccountState:
        """The stored state of the last login."""
        return self._last.stored

    @property
    def current(self) -> UserSession | None:
        """The session of the last login."""
        return self._last.current

    @property
    def takes_redirect(self) -> bool:
        """Whether a redirecting response may mean that one of the sessions ended."""
        return self._first.takes_redirect or self._last.takes_redirect

    async def prove_state(self, deadline: Deadline) -> None:
        """Locks, reads and writes the stored state of both."""
        await self._first.prove_state(deadline)
        await self._last.prove_state(deadline)

    async def record_use(self, deadline: Deadline) -> None:
        """Stores when the sessions were last used."""
        await self._first.record_use(deadline)
        await self._last.record_use(deadline)

    async def read_state(self, deadline: Deadline) -> AccountState:
        """Reads the stored state of the last login."""
        return await self._last.read_state(deadline)

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """Ends both, the last one first; returns whether both ended. A refusal by one server keeps no session open at
        the other."""
        try:
            ended = await self._last.revoke(deadline, observer)
        finally:
            first = await self._first.revoke(deadline, observer)
        return ended and first

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Deletes the stored state of both."""
        try:
            await self._last.forget(deadline, cooldown=cooldown)
        finally:
            await self._first.forget(deadline, cooldown=cooldown)


class ChainedSessionProvider(_Both):
    """One login after another. Renews only what ended: the last session from the first, or both."""

    def __init__(self, first: SessionProvider, last: LoginSessionProvider) -> None:
        """`last` uses `${previous.access_token}`."""
        super().__init__(first, last)
        self._maker = last

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """Returns a session of the last login, created from a valid one of the first."""
        ended, self._ended = self._ended, None
        now = self._maker.current
        stale = rejected is None or (now is not None and now.access_token != rejected.access_token)
        began = deadline.clock.time()
        first = await self._first.session(deadline, observer, rejected=None if stale else ended)
        self._maker.after(first)
        try:
            return await self._maker.session(deadline, observer, rejected=rejected)
        except LoginRefused as error:
            # A token that was just issued has not expired: another one would be refused too, and may cost a code.
            if error.cause is not Cause.TOKEN or first.token.created_at >= began:
                raise
            renewed = await self._first.session(deadline, observer, rejected=first)
            self._maker.after(renewed)
            return await self._maker.session(deadline, observer, rejected=rejected)

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """Ends both sessions, the last one first."""
        kept = (await self._first.read_state(deadline)).session
        if kept is not None:
            self._maker.after(kept)
        return await super().revoke(deadline, observer)

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:
        """Returns the headers that carry the last session."""
        return self._maker.headers(session, target)

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Stores what the response changes in the last session."""
        await self._maker.answered(session, answer, target, deadline)

    def expired(self, answer: Response) -> bool:
        """Whether the response says that a session is no longer valid; records whether it is the first login's."""
        if self._maker.expired(answer):
            return True
        if not self._maker.previous_expired(answer):
            return False
        self._ended = self._maker.previous
        return True


class GatedSessionProvider(_Both):
    """Logins behind a gateway, each with its own session."""

    def __init__(self, gate: SessionProvider, last: SessionProvider, behind: list[LoginSessionProvider]) -> None:
        """`behind` are the logins whose requests to the API also pass the gateway."""
        super().__init__(gate, last)
        self._open: UserSession | None = None
        self._last_over = True
        for one in behind:
            one.behind(self._through)

    def _through(self, headers: dict[str, str], target: str) -> dict[str, str]:
        """Returns the headers with those that the gateway requires."""
        if self._open is None:
            return headers
        given = self._first.headers(self._open, target)
        cookies = given.pop("Cookie", None)
        return with_cookies({**given, **headers}, cookies)

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """Returns a session of the last login, while the gateway's session is valid."""
        ended, self._ended = self._ended, None
        over = None if rejected is None else ended
        self._open = await self._first.session(deadline, observer, rejected=over)
        if over is not None and not self._last_over:
            rejected = None
        return await self._last.session(deadline, observer, rejected=rejected)

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """Ends both, the last one first, through the gateway."""
        self._open = self._open or (await self._first.read_state(deadline)).session
        return await super().revoke(deadline, observer)

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:
        """Returns the headers that carry both sessions."""
        return self._through(self._last.headers(session, target), target)

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Stores what the response changes in both sessions."""
        if self._open is not None:
            await self._first.answered(self._open, answer, target, deadline)
            self._open = self._first.current or self._open
        await self._last.answered(session, answer, target, deadline)

    def expired(self, answer: Response) -> bool:
        """Whether the response says that one of the sessions is no longer valid.

        Where it may be either, both are renewed, except mounted secrets: their refusal would count.
        """
        if self._first.expired(answer):
            self._ended = self._open
            self._last_over = not self._last.static and self._last.expired(answer)
            return True
        return self._last.expired(answer)
