"""Several logins in a row: each begins with the session of the one before, and the last one's goes with the requests."""

from runner.auth.interface import SessionProvider
from runner.auth.session import LoginSessionProvider
from runner.clock import Deadline
from runner.errors import Cause, LoginRefused
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import UserSession
from runner.state.record import AccountState


class ChainedSessionProvider:
    """A login after another. Only what is over is made again: the last session of the first's, or both."""

    static = False

    def __init__(self, first: SessionProvider, last: LoginSessionProvider) -> None:
        """`last` uses `${previous.access_token}`."""
        self._first = first
        self._last = last
        self._ended: UserSession | None = None  # the first's session that the API told to be over

    @property
    def stored(self) -> AccountState:
        """What is kept of the last login."""
        return self._last.stored

    @property
    def current(self) -> UserSession | None:
        """The last login's session in use."""
        return self._last.current

    async def prove_state(self, deadline: Deadline) -> None:
        """Lock, read and write what is kept of both."""
        await self._first.prove_state(deadline)
        await self._last.prove_state(deadline)

    async def record_use(self, deadline: Deadline) -> None:
        """Keep when the sessions were last used."""
        await self._first.record_use(deadline)
        await self._last.record_use(deadline)

    async def read_state(self, deadline: Deadline) -> AccountState:
        """What is kept of the last login, read now."""
        return await self._last.read_state(deadline)

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """A session of the last login, made of a good one of the first."""
        ended, self._ended = self._ended, None
        first = await self._first.session(deadline, observer, rejected=ended if rejected else None)
        self._last.after(first)
        try:
            return await self._last.session(deadline, observer, rejected=rejected)
        except LoginRefused as error:
            if error.cause is not Cause.TOKEN:
                raise
            renewed = await self._first.session(deadline, observer, rejected=first)
            self._last.after(renewed)
            return await self._last.session(deadline, observer, rejected=rejected)

    def headers(self, session: UserSession) -> dict[str, str]:
        """The headers that carry the last session."""
        return self._last.headers(session)

    def expired(self, answer: Response) -> bool:
        """Whether the answer says that one of the sessions is no longer good; notes whether it is the first's."""
        if self._last.expired(answer):
            return True
        if not self._last.previous_expired(answer):
            return False
        self._ended = self._last.previous
        return True

    async def revoke(self, deadline: Deadline, observer: Observer) -> None:
        """End both, the last one first."""
        await self._last.revoke(deadline, observer)
        await self._first.revoke(deadline, observer)

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Drop what is kept of both."""
        await self._last.forget(deadline, cooldown=cooldown)
        await self._first.forget(deadline, cooldown=cooldown)
