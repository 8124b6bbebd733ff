"""The session of one account: a cached token, else a refresh, else a login; single-flight across tasks and processes.

What a refused login, a used code and a skewed clock mean is decided here; the wire's spelling is the profile's.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from runner.api import profile as spelling
from runner.api import retry
from runner.api.client import LOOPBACK, Answer, Client, prepare
from runner.api.profile import Auth, Step
from runner.api.retry import Safety
from runner.auth import totp
from runner.auth.store import Store
from runner.auth.stored import Stored
from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError, ContractError, DeadlineExceeded, LoginRefused, SecretError, Unreachable
from runner.frozen import Frozen
from runner.models import Session
from runner.observe import events
from runner.observe.interface import Observer

MAX_CODES = 2  # one-time codes in one run: one, and one more where the first met a wrong clock
EXPIRY_MARGIN = 10.0  # seconds: a token that is about to end is not begun with
MAX_SKEW = 3600.0  # seconds: beyond that the Date header is more likely wrong than our clock
COOLDOWN = 300.0  # seconds after the first refused login; doubles with each further one
TURNED_AWAY = frozenset({425, 429})  # answers that say the request was not looked at (RFC 8470, RFC 6585)
MAX_COOLDOWN = 6 * 3600.0


class Credentials(Frozen):
    """What a login needs. Its repr shows nothing."""

    username: str
    password: str
    seed: Seed | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"


class SessionKeeper:
    """Keeps one account's session good, with as few logins as can be."""

    def __init__(
        self,
        *,
        client: Client,
        auth: Auth,
        base_url: str,
        credentials: Credentials,
        store: Store,
        clock: Clock,
        learn: Callable[[str], None] = lambda _secret: None,
        reread: Callable[[], Credentials] | None = None,
    ) -> None:
        """`learn` is told each new secret (token, code), so that the redactor knows it.

        `reread` reads the secrets again: after a refused login once, for they may have been rotated meanwhile.
        """
        self._client = client
        self._auth = auth
        parts = urlsplit(base_url)
        self._trust_date = parts.scheme == "https" or parts.hostname in LOOPBACK
        self._credentials = credentials
        self._store = store
        self._clock = clock
        self._learn = learn
        self._reread = reread
        self._mutex = asyncio.Lock()
        self._session: Session | None = None
        self._codes = 0
        self._refused: AuthenticationError | None = None

    @property
    def stored(self) -> Stored:
        """What the store holds now, for `check` and `status`."""
        return self._store.load()

    async def session(self, deadline: Deadline, observer: Observer, *, rejected: Session | None = None) -> Session:
        """A session that should be good; never the one the API `rejected`.

        Raises LoginRefused, SecretError, Unreachable, ContractError or DeadlineExceeded.
        """
        async with self._mutex:
            if self._session and self._good(self._session, rejected):
                return self._session
            if self._refused:
                raise self._refused
            try:
                async with self._store.lock(deadline):
                    self._session = await self._acquire(deadline, observer, rejected)
            except AuthenticationError as error:
                self._refused = error
                raise
            return self._session

    def headers(self, session: Session) -> dict[str, str]:
        """The headers that carry the session."""
        from runner.api import template

        filled = template.fill(
            self._auth.headers, {"access_token": session.access_token, "token_type": session.token_type}
        )
        return dict(filled or {})

    def expired(self, answer: Answer) -> bool:
        """Whether the answer says that the token is no longer good."""
        return answer.status in self._auth.expired

    async def forget(self, deadline: Deadline, *, cooldown: bool) -> None:
        """Drop the cached session, and the cool-down too where asked. The used time step is kept."""
        async with self._store.lock(deadline):
            kept = replace(self._store.load(), session=None)
            self._store.save(replace(kept, failures=0, cooldown_until=0.0) if cooldown else kept)
        self._session = None

    def _good(self, session: Session, rejected: Session | None) -> bool:
        if rejected and session.access_token == rejected.access_token:
            return False
        return session.expires_at is None or session.expires_at - EXPIRY_MARGIN > self._clock.time()

    async def _acquire(self, deadline: Deadline, observer: Observer, rejected: Session | None) -> Session:
        """Under the account's lock: another process may have been faster."""
        stored = self._store.load()
        session = stored.session
        if session and self._good(session, rejected):
            self._keep(session)
            observer.emit(events.SessionReused(self._left(session)))
            return session
        old = session or self._given(stored)
        if old and old.refresh_token and self._auth.refresh:
            renewed = await self._refresh(old.refresh_token, old, deadline, observer)
            if renewed:
                return renewed
        return await self._login(deadline, observer)

    def _given(self, stored: Stored) -> Session | None:
        """The session that a mounted refresh token stands for, unless it was used already."""
        token = self._credentials.refresh_token
        if token is None or stored.used_refresh_token == _fingerprint(token):
            return None
        return Session("", refresh_token=token)

    def _left(self, session: Session) -> float | None:
        return None if session.expires_at is None else round(session.expires_at - self._clock.time(), 1)

    def _keep(self, session: Session) -> None:
        for secret in (session.access_token, session.refresh_token):
            if secret:
                self._learn(secret)

    async def _refresh(self, token: str, old: Session, deadline: Deadline, observer: Observer) -> Session | None:
        """A renewed session, or None where a login must follow."""
        assert self._auth.refresh is not None
        began = self._clock.monotonic()
        self._keep(old)
        before = self._store.load()
        # Taken out of the store before it is sent: a rotating server revokes the family when one is seen twice.
        self._store.save(replace(before, session=None, used_refresh_token=_fingerprint(token)))
        values = {"refresh_token": token, "access_token": old.access_token}
        call = prepare("refresh", self._auth.refresh.request, values)
        try:
            answer = await self._client.send(call, safety=Safety.ONCE, deadline=deadline, observer=observer)
            self._measure_skew(answer, observer)
            if answer.status not in self._auth.refresh.accepted:
                observer.emit(events.LoginFailed("refresh", f"the API answered {answer.status}"))
                return None
            session = self._read_session("refresh", answer, mfa=old.mfa_verified)
        except Unreachable as error:
            observer.emit(events.LoginFailed("refresh", str(error)))
            if not error.sent:
                self._store.save(before)
                raise
            return None
        except ContractError as error:  # the token may be used up: a login is the way on
            observer.emit(events.LoginFailed("refresh", str(error)))
            return None
        if session.refresh_token is None:
            session = replace(session, refresh_token=token)
        return self._started(session, "refresh", began, observer)

    async def _login(self, deadline: Deadline, observer: Observer) -> Session:
        self._check_cooldown()
        began = self._clock.monotonic()
        try:
            answer, used_code = await self._walk(deadline, observer)
        except LoginRefused as error:
            if not self._rotated(observer):
                self._note_refusal(observer, error)
                raise
            answer, used_code = await self._walk_again(deadline, observer)
        session = self._read_session("login", answer, mfa=used_code)
        return self._started(session, "login", began, observer)

    async def _walk_again(self, deadline: Deadline, observer: Observer) -> tuple[Answer, bool]:
        try:
            return await self._walk(deadline, observer)
        except LoginRefused as error:
            self._note_refusal(observer, error)
            raise

    def _rotated(self, observer: Observer) -> bool:
        """Read the secrets again, once; true where they changed since they were read, for the same user."""
        reread, self._reread = self._reread, None
        if reread is None:
            return False
        try:
            fresh = reread()
        except SecretError as error:
            observer.emit(events.LoginFailed("login", str(error)))
            return False
        if fresh == self._credentials or fresh.username != self._credentials.username:
            return False
        self._credentials = fresh
        observer.emit(events.SecretsRotated())
        return True

    def _check_cooldown(self) -> None:
        stored = self._store.load()
        left = stored.cooldown_until - self._clock.time()
        if left > 0:
            raise LoginRefused(
                f"no login is tried for another {left:.0f} s, after {stored.failures} refused in a row, so that the "
                "account is not locked; mend the credentials, then `sync-runner login --force`"
            )

    def _note_refusal(self, observer: Observer, error: LoginRefused) -> None:
        stored = self._store.load()
        failures = stored.failures + 1
        length = min(MAX_COOLDOWN, COOLDOWN * 2.0 ** (failures - 1))
        self._store.save(replace(stored, session=None, failures=failures, cooldown_until=self._clock.time() + length))
        observer.emit(events.LoginFailed("login", str(error)))
        observer.emit(events.CooldownStarted(length, failures))

    async def _walk(self, deadline: Deadline, observer: Observer) -> tuple[Answer, bool]:
        """Go through the profile's steps until one says done. Returns that answer, and whether a code was used."""
        values: dict[str, Any] = {"username": self._credentials.username, "password": self._credentials.password}
        name = next(iter(self._auth.steps))
        used_code = False
        for _ in range(2 * len(self._auth.steps) + MAX_CODES):
            step = self._auth.steps[name]
            skew = self._store.load().skew
            answer = await self._send_step(step, values, deadline, observer)
            clock_was_wrong = abs(self._store.load().skew - skew) >= 2.0
            used_code = used_code or step.wants_code
            rule = _rule(step, answer)
            if rule is None:
                raise ContractError(
                    f"login: the profile has no meaning for the answer {answer.status} ({_shape(answer)})"
                )
            if rule.then == "done":
                return answer, used_code
            if rule.then == "refused":
                if step.wants_code and clock_was_wrong and self._codes < MAX_CODES:
                    continue  # once more, with a code for the server's clock
                raise LoginRefused(_refusal(step, answer))
            if rule.then == "locked":
                raise LoginRefused(
                    "login: the account is locked at the API; unlock it there, or wait until it is open again"
                )
            if rule.then == "unsupported":
                raise LoginRefused(
                    "login: the API wants a second factor that needs a person (push, SMS or e-mail); "
                    "set the account to an authenticator app and mount its seed as the secret `totp_seed`"
                )
            values |= {key: spelling.text(answer.body, path) for key, path in rule.carry.items()}
            name = rule.then
        raise ContractError("login: the API sent the login in a circle")

    async def _send_step(self, step: Step, values: dict[str, Any], deadline: Deadline, observer: Observer) -> Answer:
        """Send one step, made anew for each try: a code is stale by the next one.

        Where the answer was lost the step is sent once more, with the next code; never a third time, for the server
        may have counted each as a failure.
        """
        lost = 0

        async def once(attempt: int) -> Answer:
            nonlocal lost
            before = self._store.load()
            if step.wants_code:
                values["code"] = await self._next_code(deadline, observer)
            try:
                answer = await self._client.exchange(
                    prepare("login", step.request, values), attempt, deadline, observer
                )
            except Unreachable as error:
                lost += error.sent
                if step.wants_code and not error.sent:
                    self._give_back(before)
                raise
            if step.wants_code and answer.status in TURNED_AWAY:
                self._give_back(before)
            self._measure_skew(answer, observer)
            lost += answer.status in retry.MAYBE_TAKEN
            return answer

        def why(failure: Unreachable | int) -> str | None:
            no_code_left = step.wants_code and self._codes >= MAX_CODES
            return None if lost > 1 or no_code_left else retry.reason(failure, Safety.REPEATABLE)

        try:
            answer = await self._client.repeat("login", once, why=why, deadline=deadline, observer=observer)
        except Unreachable as error:
            observer.emit(events.LoginFailed("login", str(error)))
            raise
        if answer.status in retry.MAYBE_TAKEN | retry.NOT_TAKEN and _rule(step, answer) is None:
            observer.emit(events.LoginFailed("login", f"the API answered {answer.status}"))
            raise Unreachable(f"login: the API answered {answer.status}")
        return answer

    def _give_back(self, before: Stored) -> None:
        """The code was certainly not looked at: it may be used again."""
        self._store.save(replace(self._store.load(), last_step=before.last_step))
        self._codes -= 1

    async def _next_code(self, deadline: Deadline, observer: Observer) -> str:
        seed = self._credentials.seed
        if seed is None:
            raise SecretError(
                "login: the API wants a one-time code; mount the account's TOTP seed (Base32 or otpauth:// URI) "
                "as the secret `totp_seed`"
            )
        if self._codes >= MAX_CODES:
            raise AuthenticationError(
                f"login: {MAX_CODES} one-time codes were sent in this run already; more could lock the account. "
                "Does the API take back its tokens? See the log"
            )
        stored = self._store.load()
        now = self._clock.time() + stored.skew
        last = stored.last_step
        if stored.assume_used_until:
            last = max(last or 0, totp.step_at(seed, stored.assume_used_until + stored.skew))
        choice = totp.choose_step(seed, now, last)
        if choice.wait > 0:
            if choice.wait >= deadline.left:
                raise DeadlineExceeded(
                    f"login: the next one-time code comes in {choice.wait:.0f} s, but {deadline.what} ends in "
                    f"{deadline.left:.0f} s"
                )
            observer.emit(events.CodeWait(round(choice.wait, 3), choice.reason))
            await self._clock.sleep(choice.wait)
        self._codes += 1
        self._store.save(replace(stored, last_step=choice.step))
        code = totp.code(seed, choice.step)
        self._learn(code)
        return code

    def _measure_skew(self, answer: Answer, observer: Observer) -> None:
        """Server clock minus ours, from the Date header, against the middle of the exchange (RFC 5905's offset)."""
        date = retry.http_date(answer.headers.get("date"))
        if date is None or not self._trust_date or "age" in answer.headers:
            return
        skew = date + 0.5 - (answer.sent_at + answer.received_at) / 2  # Date is cut to the second
        if abs(skew) > MAX_SKEW:
            return
        skew = 0.0 if abs(skew) < 2.0 else round(skew, 1)
        stored = self._store.load()
        if abs(stored.skew - skew) >= 1.0:
            self._store.save(replace(stored, skew=skew))
        if skew:
            observer.emit(events.ClockSkew(skew))

    def _read_session(self, endpoint: str, answer: Answer, *, mfa: bool) -> Session:
        fields = self._auth.session
        body = answer.body
        token = spelling.text(body, fields.access_token)
        if not token:
            raise ContractError(f"{endpoint}: no access token at `{fields.access_token}` ({_shape(answer)})")
        lifetime = spelling.seconds(body, fields.expires_in)
        now = answer.sent_at  # the earliest moment it can have been issued
        return Session(
            access_token=token,
            token_type=spelling.text(body, fields.token_type) or "Bearer",
            refresh_token=spelling.text(body, fields.refresh_token),
            expires_at=None if lifetime is None else now + lifetime,
            created_at=now,
            last_used_at=now,
            session_id=spelling.text(body, fields.session_id),
            user_id=spelling.text(body, fields.user_id),
            scope=spelling.text(body, fields.scope),
            mfa_verified=mfa,
        )

    def _started(self, session: Session, method: str, began: float, observer: Observer) -> Session:
        self._keep(session)
        self._store.save(replace(self._store.load(), session=session, failures=0, cooldown_until=0.0))
        spent = round(self._clock.monotonic() - began, 3)
        observer.emit(events.LoggedIn(method, session.mfa_verified, spent, self._left(session)))
        return session


def _fingerprint(token: str) -> str:
    """Tells a token again without keeping it. Tokens are random, so that a plain hash gives nothing away."""
    return hashlib.sha256(token.encode()).hexdigest()


def _rule(step: Step, answer: Answer) -> spelling.Answer | None:
    for rule in step.answers:
        if answer.status in rule.status and (rule.when is None or spelling.find(answer.body, rule.when)):
            return rule
    return None


def _refusal(step: Step, answer: Answer) -> str:
    if step.wants_code:
        return (
            f"login: the one-time code was refused ({answer.status}); check the secret `totp_seed` "
            "(is it this account's, are digits, period and algorithm right?) and the clocks of both machines"
        )
    return f"login: the username or password was refused ({answer.status}); check the secrets `username` and `password`"


def _shape(answer: Answer) -> str:
    return f"shape: {spelling.shape(answer.body)}" if answer.is_json else "not JSON"
