"""An account without a login: each request carries its secrets (bearer token, API key, basic authentication, or none)."""

from collections.abc import Callable, Mapping
from typing import Any

from runner.auth import refusals
from runner.auth.credentials import Credentials
from runner.auth.interface import SessionProvider
from runner.clock import Clock, Deadline, SystemClock
from runner.errors import Cause, LoginRefused, SecretError
from runner.events import events
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.models import AuthenticationToken, UserSession
from runner.profile import template
from runner.profile.extraction import fits, redirects
from runner.profile.models import Auth
from runner.state.interface import AccountStore
from runner.state.record import AccountState


class StaticSessionProvider:
    """Supplies the mounted secrets; after a refusal reads them again once: they may have been rotated."""

    static = True
    ends = False

    def __init__(
        self,
        *,
        auth: Auth,
        credentials: Credentials,
        constant: Mapping[str, Any],
        reread: Callable[[], Credentials],
        store: AccountStore | None = None,
        clock: Clock | None = None,
        name: str = "profile",
    ) -> None:
        """`constant` are further values for templates: `account`, `base_url`, `params.NAME`.

        `store` records a refused password; None for secrets that lock no account.
        """
        self.name = name
        self._auth = auth
        self._credentials = credentials
        self._fixed = constant
        self._reread: Callable[[], Credentials] | None = reread
        self._store = store
        self._clock = clock or SystemClock()
        self._checked = store is None
        self._readings = 1

    @property
    def parts(self) -> tuple[SessionProvider, ...]:
        """Itself."""
        return (self,)

    @property
    def stored(self) -> AccountState:
        """Stores nothing."""
        return AccountState()

    async def read_state(self, deadline: Deadline) -> AccountState:  # noqa: ARG002 - nothing is read
        """Stores nothing."""
        return AccountState()

    async def session(
        self,
        deadline: Deadline,
        observer: Observer,
        *,
        rejected: UserSession | None = None,
    ) -> UserSession:
        """Returns the secrets as a session.

        Raises LoginRefused where the API rejected them, in this or an earlier run, and no others are mounted.
        """
        if not self._checked and self._store is not None:
            self._check(await self._store.read(deadline))
            self._checked = True
        if rejected is not None and rejected.token.token_id == self._token_id:
            await self._refused(deadline, observer)
        return UserSession(AuthenticationToken(self._token_id, access_token=""))

    @property
    def takes_redirect(self) -> bool:
        """Whether a redirecting response may mean that the secrets are not accepted."""
        return redirects(self._auth.expired)

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Stores nothing."""

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:  # noqa: ARG002 - there is only one
        """Returns the headers that carry the secrets."""
        return dict(template.fill(self._auth.headers, {**self._fixed, **self._credentials.values}) or {})

    def expired(self, answer: Response) -> bool:
        """Whether the response says that the secrets are not accepted."""
        return fits(self._auth.expired, answer)

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:  # noqa: ARG002 - nothing is sent
        """There is no session."""
        return False

    @property
    def current(self) -> None:
        """There is no login."""
        return

    async def prove_state(self, deadline: Deadline) -> None:
        """Stores nothing."""

    async def record_use(self, deadline: Deadline) -> None:
        """Stores nothing."""

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Deletes the record of a refused password, on request."""
        if self._store is not None and cooldown:
            async with self._store.hold(deadline) as held:
                held.change(**refusals.FORGIVEN)

    def _check(self, stored: AccountState) -> None:
        """Raises LoginRefused for a password that was refused before and has not changed."""
        objection = refusals.objection(stored, self._credentials, self._clock.time())
        if objection:
            raise objection

    async def _refused(self, deadline: Deadline, observer: Observer) -> None:
        """Returns changed mounted secrets, 2 s later. Raises LoginRefused where they have not changed."""
        before = self._credentials
        try:
            self._rotate(observer)
        except LoginRefused:
            await self._remember(before, deadline)
            raise
        if self._store is not None:
            await self._remember(before, deadline)
            self._check(await self._store.read(deadline))
            await self._clock.sleep(refusals.APART)

    async def _remember(self, credentials: Credentials, deadline: Deadline) -> None:
        if self._store is None:
            return
        async with self._store.hold(deadline) as held:
            held.change(**refusals.after_refusal(held.state, Cause.PASSWORD, credentials, self._clock.time()))

    @property
    def _token_id(self) -> str:
        """The number of the current reading of the mounted secrets."""
        return f"mounted-{self._readings}"

    def _rotate(self, observer: Observer) -> None:
        before, reread, self._reread = self._credentials, self._reread, None
        try:
            if reread is not None:
                self._credentials = reread()
        except SecretError as error:
            observer.emit(events.LoginFailed("login", str(error)))
        if self._credentials == before:
            named = ", ".join(f"`{name}`" for name in self._auth.secrets if name in self._credentials.values)
            raise LoginRefused(
                f"login: the API refuses the mounted secret; check the secret {named or '(there is none)'}",
                cause=Cause.PASSWORD,
            )
        self._readings += 1
        observer.emit(events.SecretsRotated())
