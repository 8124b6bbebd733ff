"""What the job side asks of an account's session, however it is come by."""

from typing import Protocol

from runner.clock import Deadline
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import UserSession
from runner.state.record import AccountState


class SessionProvider(Protocol):
    """Keeps one account's session good. `static`: there is no login, and nothing is sent to have one."""

    static: bool

    @property
    def name(self) -> str:
        """The login's name in the settings; `profile` for the profile's own."""
        ...

    @property
    def parts(self) -> "tuple[SessionProvider, ...]":
        """Each login of it, in their order; itself where it is one."""
        ...

    @property
    def ends(self) -> bool:
        """Whether a login here began a session that nothing keeps and that can be ended at its server."""
        ...

    @property
    def stored(self) -> AccountState:
        """What the store held when it was last read or held."""
        ...

    @property
    def current(self) -> UserSession | None:
        """The session in use; None before there is one, and where there is no login."""
        ...

    async def read_state(self, deadline: Deadline) -> AccountState:
        """What is kept of the account between runs. Raises what a store raises."""
        ...

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """A session that should be good; never the one the API `rejected`. Raises what a login can."""
        ...

    @property
    def takes_redirect(self) -> bool:
        """Whether an answer that redirects may mean that the session ended."""
        ...

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:
        """The headers that carry the session, with a request to `target` of the API."""
        ...

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Keep what an answer of the API to that request changes of the session, such as cookies. Raises what a store raises."""
        ...

    def expired(self, answer: Response) -> bool:
        """Whether the answer says that the session is no longer good."""
        ...

    async def prove_state(self, deadline: Deadline) -> None:
        """Lock, read and write what is kept, for `check`. Raises what a store raises."""
        ...

    async def record_use(self, deadline: Deadline) -> None:
        """Keep when the session was last used, at the end of the work with it. Raises what a store raises."""
        ...

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """End the kept session at the API, where the login says how; whether it was ended there. Raises what a request can."""
        ...

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Drop what is kept of the session, and of refused logins where asked."""
        ...
