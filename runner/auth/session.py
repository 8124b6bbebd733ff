"""The session of one account: a cached token, else a refresh, else a login; single-flight across tasks and processes.

This module decides the order of these and when to stop; `login_flow.py` runs the steps of a login.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from runner.auth import clocks, refusals, renewal
from runner.auth.browser import API, Gate
from runner.auth.code_sources.interface import CodeSource
from runner.auth.codes import Codes
from runner.auth.credentials import Credentials
from runner.auth.interface import SessionProvider
from runner.auth.login_flow import LoginFlow, LoginState
from runner.auth.mounted import Mounted
from runner.auth.origin import Origin
from runner.auth.session_cookies import SessionCookies
from runner.auth.session_reading import COOKIES, bound, fingerprint, lasts, made_of, mounted, read_session, secrets_of
from runner.clock import Clock, Deadline
from runner.errors import (
    AuthenticationError,
    Cause,
    ContractError,
    DeadlineExceeded,
    LoginRefused,
    StateError,
    Unreachable,
)
from runner.events import events
from runner.events.observer import Observer
from runner.http.client import Client
from runner.http.messages import Response
from runner.models import UserSession
from runner.profile import extraction, template
from runner.profile.models import Auth
from runner.state.interface import AccountStore, HeldState
from runner.state.record import AccountState

USE_SECONDS = 1.0  # the time of use is stored only when it is at least this much later than the stored one
EXPIRY_MARGIN = 10.0  # seconds: a token that is about to expire is not used


class LoginSessionProvider:
    """Keeps one account's session valid, with as few logins as possible."""

    static = False

    def __init__(
        self,
        *,
        client: Client,
        auth: Auth,
        base_url: str,
        credentials: Credentials,
        store: AccountStore,
        clock: Clock,
        add_secret: Callable[[str], None] = lambda _secret: None,
        reread: Callable[[], Credentials] | None = None,
        constant: Mapping[str, Any] | None = None,
        named: Mapping[str, Client] | None = None,
        codes: CodeSource | None = None,
        name: str = "profile",
    ) -> None:
        """`name` identifies the login among the account's. `add_secret` receives each new secret. `named` are the clients of
        addresses that steps name. `codes` supplies one-time codes, default: from the seed. `constant` are values for
        templates: `account`, `base_url`, `params.NAME`. `reread` reads the secrets again, once after a refused login: they
        may have been rotated."""
        self.name, self._began = name, False
        self._fixed = dict(constant or {})
        self._origin = Origin(auth, self._fixed)
        self._previous: UserSession | None = None
        self._mounted, self._mutex = Mounted(credentials, reread, clock), asyncio.Lock()
        self._auth, self._store, self._clock, self._add_secret = auth, store, clock, add_secret
        self._session: UserSession | None = None
        self._used_at, self._stored, self._named = 0.0, AccountState(), named or {}
        self._cookies = SessionCookies.of(auth, self._fixed.get("base_url"), clock)
        self._steps = LoginFlow(client, auth, Codes(base_url, clock, add_secret, codes), clock, named or {})
        self._refused: AuthenticationError | None = None

    @property
    def parts(self) -> tuple[SessionProvider, ...]:
        """Itself."""
        return (self,)

    @property
    def ends(self) -> bool:
        """Whether a login here started a session that is not stored and that can be ended."""
        return self._began and self._auth.revoke is not None and not getattr(self._store, "kept", True)

    @property
    def stored(self) -> AccountState:
        """The stored state, as last read or locked here."""
        return self._stored

    @property
    def current(self) -> UserSession | None:
        """The current session."""
        return self._session

    async def read_state(self, deadline: Deadline) -> AccountState:
        """Reads the stored state, for `check`. Raises what a store raises."""
        self._stored = await self._store.read(deadline)
        return self._stored

    async def session(
        self, deadline: Deadline, observer: Observer, *, rejected: UserSession | None = None
    ) -> UserSession:
        """Returns a session that should be valid, never the one the API `rejected`.

        Raises LoginRefused, SecretError, Unreachable, ContractError or DeadlineExceeded.
        """
        async with self._mutex:
            if self._session and self._good(self._session, rejected):
                return self._session
            if self._refused:
                raise self._refused
            acquired: UserSession | None = None
            try:
                async with self._held(deadline) as held:
                    acquired = self._session = await self._acquire(held, deadline, observer, rejected)
                    self._steps.codes.tell_end(None if self._auth.refresh else self._left(acquired), observer)
            except AuthenticationError as error:
                self._refused = error
                raise
            except (StateError, Unreachable, DeadlineExceeded) as problem:
                if acquired is None:
                    raise
                # The session is valid, and running jobs are polled with it; only the next run cannot reuse it.
                observer.emit(events.StoreProblem(f"the session was not stored: {problem}"))
            assert acquired is not None
            return acquired

    @asynccontextmanager
    async def _held(self, deadline: Deadline) -> AsyncIterator[HeldState]:
        """Locks the account's state; yields it with a copy of its initial value."""
        async with self._store.hold(deadline) as held:
            try:
                yield held
            finally:
                self._stored = held.state

    def headers(self, session: UserSession, target: str = "/") -> dict[str, str]:
        """Returns the headers that carry the session, for a request to `target` of the API."""
        self._used_at = self._clock.time()
        values = {"access_token": session.access_token, "token_type": session.token.token_type}
        values |= self._cookies.values(self._latest(session), target) if self._cookies else {}
        try:
            filled = template.fill(self._auth.headers, {**self._constant, **session.carried, **values})
        except KeyError as missing:
            raise ContractError(f"auth.headers: the login did not return `{missing.args[0]}`, which they use") from None
        headers = {key: template.as_text(value) for key, value in (filled or {}).items()}
        return self._cookies.added(headers, self._latest(session), target) if self._cookies else headers

    def _latest(self, session: UserSession) -> UserSession:
        """Returns the same session with its current cookies."""
        now = self._session
        return now if now is not None and now.access_token == session.access_token else session

    async def answered(self, session: UserSession, answer: Response, target: str, deadline: Deadline) -> None:
        """Stores the cookies that a response of the API sets: a gateway may accept old ones only once."""
        fresh = self._cookies.after(self._latest(session), answer, target) if self._cookies else None
        if fresh is None:
            return
        self._keep(fresh)
        if self._latest(fresh) is self._session:
            self._session = fresh
        async with self._held(deadline) as held:
            kept = held.state.session
            if kept is not None and kept.access_token == fresh.access_token:
                held.change(session=fresh)

    @property
    def takes_redirect(self) -> bool:
        """Whether a redirecting response may mean that the session ended."""
        return extraction.redirects((*self._auth.expired, *self._auth.previous_expired))

    @property
    def _constant(self) -> dict[str, Any]:
        given = {"previous.access_token": self._previous.access_token} if self._previous else {}
        return {"account": "", **self._fixed, **self._mounted.credentials.values, **given}

    def after(self, previous: UserSession) -> None:
        """Sets the session of the previous login. A session created from another one is no longer valid."""
        self._previous = previous
        self._refused = None

    def behind(self, gate: Gate) -> None:
        """Sends all requests of the login to base_url through a gateway."""
        self._steps.gate = (self._fixed.get("base_url", ""), gate)

    def expired(self, answer: Response) -> bool:
        """Whether the response says that the token is no longer valid."""
        return extraction.fits(self._auth.expired, answer, self._constant)

    @property
    def previous(self) -> UserSession | None:
        """The session of the previous login."""
        return self._previous

    def previous_expired(self, answer: Response) -> bool:
        """Whether the response says that the previous login's session is no longer valid."""
        return extraction.fits(self._auth.previous_expired, answer, self._constant)

    async def prove_state(self, deadline: Deadline) -> None:
        """Locks the account, loads its state, and rewrites it with the time of this check."""
        async with self._held(deadline) as held:
            held.change(checked_at=self._clock.time())
            await held.keep()

    async def record_use(self, deadline: Deadline) -> None:
        """Stores when the session was last used: one write for all its requests, none for use within a second."""
        kept, used_at = self._stored.session, self._used_at
        if kept is None or self._session is None or used_at - kept.last_used_at < USE_SECONDS:
            return
        async with self._held(deadline) as held:
            session = held.state.session
            if session is not None and session.access_token == self._session.access_token:
                token = replace(session.token, last_used_at=used_at)
                held.change(session=replace(session, last_used_at=used_at, token=token))

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Deletes the cached session, and the cool-down on request. The used time step is kept."""
        async with self._held(deadline) as held:
            held.change(session=None)
            if cooldown:
                held.change(**refusals.FORGIVEN)
        self._session = None

    def _good(self, session: UserSession, rejected: UserSession | None) -> bool:
        if rejected and session.access_token == rejected.access_token:
            return False
        if not made_of(session, self._previous):
            return False
        return lasts(session, EXPIRY_MARGIN, self._clock.time())

    def _alive(self, session: UserSession, rejected: UserSession | None) -> bool:
        """Whether the session can still be used where no better one is available."""
        if not session.access_token or (rejected and session.access_token == rejected.access_token):
            return False
        return session.valid_at(self._clock.time())

    async def _acquire(
        self, held: HeldState, deadline: Deadline, observer: Observer, rejected: UserSession | None
    ) -> UserSession:
        """Runs under the account's lock: another process may already have renewed the session."""
        session = self._origin.fitting(held.state)
        if session and self._good(session, rejected):
            self._keep(session)
            observer.emit(events.SessionReused(self._left(session)))
            return session
        old = session or mounted(self._mounted.credentials.refresh_token, held.state.used_refresh_token)
        if old and old.refresh_token and self._auth.refresh:
            alive = self._alive(old, rejected)
            renewed = await self._refresh(held, old, deadline, observer, alive=alive)
            if renewed:
                return renewed
        cookies = old.carried.get(COOKIES) if old else None
        return await self._login(held, deadline, observer, cookies)

    def _left(self, session: UserSession) -> float | None:
        return None if session.expires_at is None else round(session.expires_at - self._clock.time(), 1)

    def _keep(self, session: UserSession) -> None:
        for secret in secrets_of(session):
            self._add_secret(secret)

    async def _refresh(
        self, held: HeldState, old: UserSession, deadline: Deadline, observer: Observer, *, alive: bool
    ) -> UserSession | None:
        """Returns a renewed session, or None where a login must follow.

        Where the server is down, the token is kept, and a session that is still `alive` is used on.
        """
        began = self._clock.monotonic()
        self._keep(old)
        before = held.state
        # Removed from the store before it is sent: a rotating server revokes the family on a second use.
        held.change(session=None, used_refresh_token=fingerprint(old.refresh_token or ""))
        await held.keep()
        if alive and old.expires_at is not None:
            end = old.expires_at - self._clock.time()
            deadline = deadline.min(Deadline.after(self._clock, end, "the session"))
        try:
            session = await renewal.renewed(self._steps, self._auth, held, old, self._constant, deadline, observer)
        except (Unreachable, LoginRefused, ContractError, DeadlineExceeded) as error:
            observer.emit(events.LoginFailed("refresh", str(error)))
            return renewal.without(error, held, old, before, alive=alive, login=bool(self._auth.steps))
        return self._started(held, session, "refresh", began, observer)

    async def _login(self, held: HeldState, deadline: Deadline, observer: Observer, cookies: str | None) -> UserSession:
        refusals.check(held, self._mounted.credentials, self._clock.time())
        began = self._clock.monotonic()
        if not self._auth.steps:
            raise LoginRefused(
                "login: the refresh token is used up and the profile has no other login; mount a new one as the "
                "secret `refresh_token`"
            )
        state = await self._walk(held, deadline, observer, cookies)
        assert self._auth.session is not None
        session = read_session("login", self._auth.session, state, self._auth.kept)
        if state.used_code:
            clocks.by_token(held, state, session.access_token, observer)
        self._began = True
        return self._started(held, session, "login", began, observer)

    async def _walk(self, held: HeldState, deadline: Deadline, observer: Observer, cookies: str | None) -> LoginState:
        """Runs the login; once more where it was refused and the mounted secrets have changed."""
        try:
            seed = self._mounted.credentials.seed
            return await self._steps.go(held, self._constant, seed, deadline, observer, cookies)
        except LoginRefused as error:
            if error.cause is not Cause.TOKEN and self._mounted.rotated(held, error, observer):
                return await self._walk(held, deadline, observer, cookies)
            error = await clocks.judged(held, error, self._named.get(API), self._steps.codes, deadline, observer)
            advised = refusals.with_advice(error, self._mounted.credentials, kept=getattr(self._store, "kept", True))
            refusals.note(held, self._mounted.credentials, self._clock.time(), advised, observer)
            raise advised from None
        finally:
            if self._steps.doubtful:
                doubt = refusals.after_doubt(held.state, self._mounted.credentials, self._clock.time())
                held.change(**doubt)

    async def revoke(self, deadline: Deadline, observer: Observer) -> bool:
        """Ends the stored session at its server, if supported; returns whether it ended. Raises what a request
        raises."""
        session = self._origin.fitting(await self.read_state(deadline))
        if self._auth.revoke is None or session is None:
            return False
        self._began = False
        self._keep(session)
        await renewal.revoke(self._steps, self._auth.revoke, session, self._constant, deadline, observer)
        return True

    def _started(
        self, held: HeldState, session: UserSession, method: str, began: float, observer: Observer
    ) -> UserSession:
        session = bound(session, self._previous)
        self._keep(session)
        # A successful refresh proves nothing about a password that was refused.
        if method != "refresh" or not held.state.blocked:
            held.change(**refusals.FORGIVEN)
        held.change(session=session, session_login=self._origin.made)
        spent = round(self._clock.monotonic() - began, 3)
        observer.emit(events.LoggedIn(method, session.token.mfa_verified, spent, self._left(session)))
        return session
