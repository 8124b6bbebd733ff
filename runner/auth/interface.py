"""The interface of an account's session for the jobs, independent of how the session is obtained."""

from typing import Protocol

from runner.clock import Deadline
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import UserSession
from runner.state.record import AccountState


class SessionProvider(Protocol):
    """Keeps one account's session valid. `static`: there is no login, so no request is sent to obtain a session."""

    static: bool

    @property
    def name(self) -> str:
        """The login's name in the settings; `profile` for the profile's own."""
        ...

    @property
    def parts(self) -> "tuple[SessionProvider, ...]":
        """Its logins in order; itself where it is one."""
        ...

    @property
    def ends(self) -> bool:
        """Whether a login here started a session that is not stored and that can be ended at its server."""
        ...

    @property
    def stored(self) -> AccountState:
        """The stored state, as last read or locked."""
        ...

    @property
    def current(self) -> UserSession | None:
        """The current session; None before the first, and where there is no login."""
        ...

    async def read_state(self, deadline: Deadline) -> AccountState:
        """Reads the account's state between runs. Raises what a store raises."""
        ...

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """Returns a session that should be valid, never the one the API `rejected`. Raises what a login raises."""
        ...

    @property
    def takes_redirect(self) -> bool:
        """Whether a redirecting response may mean that the session ended."""
        ...

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:
        """Returns the headers that carry the session, for a request to `target` of the API."""
        ...

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Stores what the response to that request changes in the session, such as cookies. Raises what a store raises."""
        ...

    def expired(self, answer: Response) -> bool:
        """Whether the response says that the session is no longer valid."""
        ...

    async def prove_state(self, deadline: Deadline) -> None:
        """Locks, reads and writes the state, for `check`. Raises what a store raises."""
        ...

    async def record_use(self, deadline: Deadline) -> None:
        """Stores when the session was last used, after the last request. Raises what a store raises."""
        ...

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """Ends the stored session at the API, if supported; returns whether it ended there. Raises what a request
        raises."""
        ...

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Deletes the stored session, and on request the record of refused logins."""
        ...
