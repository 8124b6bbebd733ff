"""A model of an API's login, in memory, that counts what a careful client never does; and a store and a clock to go with it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx

from runner.clock import Clock, Deadline
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.state.interface import LoadedState
from runner.state.record import AccountState, Codec

LIFETIME = 900.0  # seconds that an access token lives
PERIOD = 30
LOCK_AFTER = 5
FAULTS = ("unsent", "turned away", "lost", "failing", "away", "killed before", "killed after")


class Crash(BaseException):
    """The process is killed here."""


class FakeClock:
    """Time that passes only when it is told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def client_of(address: str, clock: Clock, answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    """A client whose requests `answer` takes, in the network's place."""
    return Client(
        address, clock=clock, policy=Policy(2, 0.0, 0.0), request_timeout=30.0, tls=tls_context(address, None),
        transport=httpx.MockTransport(answer),
    )  # fmt: skip


class SharedStore:
    """One account's state as written text, shared by processes. `kill_in` saves from now, one is the process's last act."""

    def __init__(self) -> None:
        self._raw = Codec().encode(AccountState())
        self._held = asyncio.Lock()
        self.kill_in: int | None = None
        self.kept = True  # whether the save that kills still takes effect

    def load(self) -> AccountState:
        return Codec().decode(self._raw)

    def save(self, stored: AccountState) -> None:
        dies = self.kill_in == 0
        self.kill_in = None if dies or self.kill_in is None else self.kill_in - 1
        if not dies or self.kept:
            self._raw = Codec().encode(stored)
        if dies:
            raise Crash

    async def read(self, deadline: Deadline) -> AccountState:
        return self.load()

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:
        async def save(state: AccountState) -> None:
            self.save(state)

        async with self._held:
            held = LoadedState(self.load(), float("inf"), save)
            try:
                yield held
            except Crash:  # a killed process saves nothing
                raise
            except BaseException:
                await held.keep()
                raise
            await held.keep()


@dataclass
class Seen:
    """What the API saw of one run of one process."""

    refused: set[int] = field(
        default_factory=set
    )  # versions of the password that the API refused, told or lost on the way
    unclear: set[int] = field(default_factory=set)  # versions that it sent without a clear answer
    proven: set[int] = field(default_factory=set)  # versions that brought it a session, and were not refused since
    password_refused: int | None = None
    codes: int = 0
    requests: list[str] = field(default_factory=list)


class Api:
    """Right secrets, sessions, and a memory. Passwords are version numbers, codes are time steps."""

    def __init__(self, clock: FakeClock, store: SharedStore) -> None:
        self.clock, self.store = clock, store
        self.offset = 0.0
        self.secrets = 1  # the version of the password that is right
        self.ends: dict[str, float] = {}  # of each access token, by the client's clock
        self.families: dict[str, str] = {}  # of each refresh token
        self.refreshed: set[str] = set()
        self.revoked: set[str] = set()
        self.steps: set[int] = set()
        self.last_step = -1
        self.failures, self.locked_until = 0, 0.0
        self.refused_at = 0.0
        self.noted: set[int] = set()  # versions of the password that the client noted as refused
        self.cooling: int | None = None  # the version whose code was refused last
        self.faults: list[str] = []
        self.sins: list[str] = []

    def now(self) -> float:
        """The API's idea of the time."""
        return self.clock.now + self.offset

    def answer(self, request: httpx.Request, seen: Seen) -> httpx.Response:
        """One request, spoiled by the next fault."""
        fault = self.faults.pop() if self.faults else ""
        if fault == "unsent":
            raise httpx.ConnectError("no route")
        if fault == "killed before":
            raise Crash
        endpoint = request.url.path.rpartition("/")[2]
        body = json.loads(request.content)
        if endpoint == "login":
            self._judge(int(body["password"]))
        if fault in ("turned away", "away"):
            return self._made(429 if fault == "turned away" else 503, {})
        seen.requests.append(endpoint)
        made = self._refresh(body) if endpoint == "refresh" else self._login(body, seen)
        if endpoint == "login" and made.status_code == 401 and "mfa_required" not in made.json():
            seen.refused.add(int(body["password"]))
        if fault == "killed after":
            raise Crash
        if endpoint == "login":
            self._note(int(body["password"]), made, seen, clear=not fault)
        if fault == "lost":
            raise httpx.ReadError("reset")
        if fault == "failing":
            return self._made(500, {})
        return made

    def _note(self, version: int, made: httpx.Response, seen: Seen, *, clear: bool) -> None:
        """What the run learns of a password."""
        if not clear:
            seen.unclear.add(version)
        elif made.status_code == 200:
            seen.proven.add(version)
        elif version in seen.refused:
            seen.proven.discard(version)

    def _judge(self, version: int) -> None:
        if version == self.cooling and self.store.load().cooldown_until > self.clock.now:
            self.sins.append("a login within the cool-down")
        if version in self.noted:
            self.sins.append("a refused password sent again by a later run")

    def _made(self, status: int, body: Any) -> httpx.Response:
        return httpx.Response(status, json=body, headers={"Date": formatdate(self.now(), usegmt=True)})

    def _refresh(self, body: dict[str, Any]) -> httpx.Response:
        token = body["refresh_token"]
        family = self.families[token]
        if token in self.refreshed:
            self.sins.append("a refresh token sent twice")
            self.revoked.add(family)
        self.refreshed.add(token)
        return self._made(401, {}) if family in self.revoked else self._tokens(family)

    def _login(self, body: dict[str, Any], seen: Seen) -> httpx.Response:
        version = int(body["password"])
        if version in seen.refused - seen.proven and version != self.secrets:
            self.sins.append("a refused password sent again in the same run")
        if self.locked_until > self.now():
            return self._made(423, {})
        if version != self.secrets:
            seen.password_refused = version
            return self._refused()
        if body.get("mfa_code") is None:
            return self._made(401, {"mfa_required": True, "mfa_type": "totp"})
        return self._second_factor(int(body["mfa_code"]), seen)

    def _second_factor(self, step: int, seen: Seen) -> httpx.Response:
        seen.codes += 1
        if seen.codes > 2:
            self.sins.append("a third code in one run")
        if step in self.steps:
            self.sins.append("the code of one step sent twice")
        self.steps.add(step)
        if abs(step - self.now() // PERIOD) > 1 or step <= self.last_step:
            return self._refused()
        self.last_step = step
        self.failures = 0
        return self._tokens(f"family {len(self.ends)}")

    def _refused(self) -> httpx.Response:
        if self.clock.now - self.refused_at < 2.0:
            self.sins.append("two refusals within two seconds")
        self.refused_at = self.clock.now
        self.failures += 1
        if self.failures == LOCK_AFTER:
            self.failures, self.locked_until = 0, self.now() + 300
        return self._made(401, {})

    def _tokens(self, family: str) -> httpx.Response:
        access, refresh = f"access {len(self.ends)}", f"refresh {len(self.families)}"
        self.ends[access] = self.clock.now + LIFETIME
        self.families[refresh] = family
        return self._made(200, {"access_token": access, "refresh_token": refresh, "expires_in": LIFETIME})
