"""The ways in which a run can go, well and badly, for the canary campaign: what is arranged, and which codes may come."""

import asyncio
import base64
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from runner.auth import totp
from runner.http.client import Client
from runner.sandbox.faults import Fault
from runner.sandbox.server import SandboxServer
from tests.support.echoing_sandbox import EchoingSandbox, Whole
from tests.support.leak_scanner import Listening, canary, token

RUN = ["run", "health", "--start", "2026-06-29", "--end", "2026-06-30"]


class QuickClock:
    """Real time plus what was slept, almost: whoever watches a job lets it work a little."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        await asyncio.sleep(min(seconds, 0.002))


@dataclass
class Stage:
    """One user with new secrets at the worker's sandbox. Cases change what they are about."""

    directory: Path
    server: SandboxServer
    echo: EchoingSandbox
    listening: Listening
    clock: QuickClock
    username: str
    password: str
    seed: str
    mfa: str = "totp"
    base_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=lambda: [RUN])
    settings: dict[str, Any] = field(default_factory=dict)
    between: Callable[[], object] = lambda: None  # what happens between two commands
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def secret(self, name: str, content: str | bytes) -> None:
        """Write a secret's file, anew; what it holds must not come out."""
        (self.secrets / name).unlink(missing_ok=True)
        (self.secrets / name).touch(mode=0o600)
        (self.secrets / name).write_bytes(content.encode() if isinstance(content, str) else content)
        text = content if isinstance(content, str) else content.decode(errors="ignore")
        held = self.listening.names if name == "username" else self.listening.secrets
        text = (
            text.partition("secret=")[2].partition("&")[0] if text.startswith("otpauth:") else text
        )  # the rest is no secret
        held |= {line for line in text.splitlines() if len(line) >= 8}

    def fault(self, **values: Any) -> None:
        """Let the sandbox spoil an answer."""
        self.server.sandbox.faults.add(Fault(**values))


Arrange = Callable[[Stage], None]


def fault(**values: Any) -> Arrange:
    return lambda stage: stage.fault(**values)


def spoil(path: str, with_: Callable[[EchoingSandbox, Whole], Whole]) -> Arrange:
    return lambda stage: stage.echo.spoils.update({path: with_})


def wants(mfa: str) -> Arrange:
    return lambda stage: setattr(stage, "mfa", mfa)


def holding(name: str, content: Callable[[], str | bytes]) -> Arrange:
    return lambda stage: stage.secret(name, content())


def both(*arrangements: Arrange) -> Arrange:
    def arrange(stage: Stage) -> None:
        for one in arrangements:
            one(stage)

    return arrange


def saying(*commands: list[str], **settings: Any) -> Arrange:
    def arrange(stage: Stage) -> None:
        stage.commands = list(commands)
        stage.settings |= settings

    return arrange


def page(echo: EchoingSandbox, answer: Whole) -> Whole:
    return 200, {"content-type": "text/html"}, f"<html>{echo.text}</html>".encode()


def status(code: int, **headers: str) -> Callable[[EchoingSandbox, Whole], Whole]:
    return lambda echo, answer: (code, {**answer[1], **headers}, answer[2])


def redirect(echo: EchoingSandbox, answer: Whole) -> Whole:
    return 307, {"location": f"https://elsewhere.example/?{answer[1]['x-echo']}"}, answer[2]


def odd_encoding(echo: EchoingSandbox, answer: Whole) -> Whole:
    return 200, {"content-encoding": answer[1]["x-echo"]}, answer[2]


def odd_shape(echo: EchoingSandbox, answer: Whole) -> Whole:
    return 200, {}, b'{"success": true, "jobs": [{"job_id": 5, "status": "odd", "error_message": "x"}]}'


def from_environment(stage: Stage) -> None:
    for name in ("username", "password", "totp_seed"):
        stage.environment[f"SYNC_RUNNER_{name.upper()}"] = (stage.secrets / name).read_text().removesuffix("\n")
        (stage.secrets / name).unlink()


def as_uri(stage: Stage) -> None:
    stage.secret("totp_seed", f"otpauth://totp/Service:user?secret={stage.seed.lower()}&issuer=Service")


def for_people(stage: Stage) -> None:
    stage.secret("totp_seed", " ".join(stage.seed[at : at + 4] for at in range(0, 32, 4)).lower() + "\n")


def open_to_others(stage: Stage) -> None:
    (stage.secrets / "password").chmod(0o644)


def sealed(stage: Stage) -> None:
    stage.secret("state_key", base64.b64encode(random.randbytes(32)).decode())


def sealed_with_another(stage: Stage) -> None:
    sealed(stage)
    stage.commands = [RUN, RUN]
    stage.between = lambda: sealed(stage)


def corrupt(stage: Stage) -> None:
    stage.commands = [RUN, RUN]

    def spoil_store() -> None:
        for path in stage.state.glob("sessions/*.json"):
            path.write_text('{"schema": 1, "session": "' + stage.password)
            os.utime(path, (stage.clock.time(), stage.clock.time()))  # it was written before the time was moved on
        stage.echo.on_response.clear()  # tokens that nobody knows any more cannot be hidden

    stage.between = spoil_store


def again_later(stage: Stage) -> None:
    """A second run when the session is about to end: it is refreshed."""
    stage.commands = [RUN, RUN]

    def pass_time() -> None:
        stage.clock.ahead += 895

    stage.between = pass_time


def mounted_refresh_token(stage: Stage) -> None:
    stage.secret("refresh_token", canary())


def no_place_for_state(stage: Stage) -> None:
    stage.state.write_text("a file")


def rotated(stage: Stage) -> None:
    """The right password comes only after the wrong one was refused."""
    right, wrong = stage.password, canary()
    stage.secret("password", wrong)

    def then(echo: EchoingSandbox, answer: Whole) -> Whole:
        stage.secret("password", right)
        return answer

    stage.echo.spoils["/login"] = then


def unreachable(stage: Stage) -> None:
    stage.base_url = "http://127.0.0.1:1"


def no_tls(stage: Stage) -> None:
    stage.base_url = stage.server.base_url.replace("http://", "https://")


def with_user_info(stage: Stage) -> None:
    stage.base_url = stage.server.base_url.replace("http://", f"http://me:{token()}@")
    stage.listening.secrets.add(stage.base_url[10:-16].partition("@")[0])


def password_in_yaml(stage: Stage) -> None:
    (stage.directory / "runner.yaml").write_text(f"password: {canary_of(stage)}\n")
    stage.commands = [["--config", str(stage.directory / "runner.yaml"), *RUN]]


def password_as_a_number(stage: Stage) -> None:
    stage.settings["deadline.run"] = canary_of(stage)


def misspelled(stage: Stage) -> None:
    stage.environment["SYNC_RUNNER_PASWORD"] = canary_of(stage)


def canary_of(stage: Stage) -> str:
    made = token()
    stage.listening.secrets.add(made)
    return made


def defect(stage: Stage) -> None:
    error = ValueError(f"{stage.password} {stage.seed}")
    stage.stack.enter_context(mock.patch.object(totp, "choose_step", side_effect=error))


def defect_with_a_cause(stage: Stage) -> None:
    async def broken(*_arguments: Any, **_named: Any) -> None:
        try:
            raise KeyError(stage.password)
        except KeyError as error:
            raise RuntimeError(stage.username) from error

    stage.stack.enter_context(mock.patch.object(Client, "exchange", broken))


def chatty_library(stage: Stage) -> None:
    exchange = Client.exchange

    async def told(*arguments: Any, **named: Any) -> Any:
        logging.getLogger("library").error("sent %s", stage.password, exc_info=ValueError(stage.seed))
        logging.getLogger("httpx").debug("sent %s", stage.password)
        logging.getLogger("py.warnings").warning("odd: %s", stage.password)
        return await exchange(*arguments, **named)

    stage.stack.enter_context(mock.patch.object(Client, "exchange", told))


def interrupt(stage: Stage) -> None:
    def stop(echo: EchoingSandbox, answer: Whole) -> Whole:
        if stage.echo.spoils.pop("/status", None):
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    stage.fault(kind="job_stalls", times=-1)
    stage.echo.spoils["/status"] = stop


CASES: dict[str, tuple[Arrange, set[int]]] = {
    "well": (lambda stage: None, {0}),
    "no second factor": (wants("none"), {0}),
    "challenge": (wants("challenge"), {0}),
    "environment": (from_environment, {0}),
    "otpauth URI": (as_uri, {0}),
    "seed with spaces": (for_people, {0}),
    "file open to others": (open_to_others, {0}),
    "encrypted state": (sealed, {0}),
    "other commands": (saying(RUN, ["status"], ["status", "--json"], ["status", "--offline"], ["check", "health"], ["login"], ["logout"], ["login", "--force"]), {0}),
    "refreshed": (again_later, {0}),
    "refresh refused": (both(again_later, fault(kind="status", endpoint="refresh", status=401)), {0}),
    "refresh lost": (both(again_later, fault(kind="reset_after", endpoint="refresh")), {0}),
    "refresh without a token": (both(again_later, spoil("/refresh", odd_shape)), {0}),
    "mounted refresh token": (mounted_refresh_token, {0}),
    "rotated password": (rotated, {0}),
    "wrong username": (holding("username", canary), {3}),
    "wrong password": (holding("password", canary), {3}),
    "cool-down": (both(holding("password", canary), saying(RUN, RUN, ["check"])), {3}),
    "wrong seed": (holding("totp_seed", lambda: base64.b32encode(random.randbytes(20)).decode()), {3}),
    "seed that is none": (holding("totp_seed", lambda: canary() + "!"), {3}),
    "URI of another kind": (holding("totp_seed", lambda: f"otpauth://hotp/x?secret={base64.b32encode(random.randbytes(20)).decode()}"), {3}),
    "URI with odd digits": (holding("totp_seed", lambda: f"otpauth://totp/x?digits=x&secret={base64.b32encode(random.randbytes(20)).decode()}"), {3}),
    "password of two lines": (holding("password", lambda: f"{canary()}\n{canary()}"), {3}),
    "password that is no text": (holding("password", lambda: canary().encode() + b"\xff"), {3}),
    "password too large": (holding("password", lambda: canary() * 5000), {3}),
    "empty password": (holding("password", lambda: "\n"), {3}),
    "missing seed": (lambda stage: (stage.secrets / "totp_seed").unlink(), {3}),
    "a person's factor": (wants("sms"), {3}),
    "account locked": (fault(kind="status", endpoint="login", status=423), {3}),
    "state encrypted with another key": (sealed_with_another, {0, 3}),
    "corrupt state": (corrupt, {0}),
    "no place for state": (no_place_for_state, {2}),
    "rate limited": (fault(kind="status", endpoint="login", status=429, times=-1), {7}),
    "API down at login": (fault(kind="status", endpoint="login", times=-1), {7}),
    "login's answer lost": (fault(kind="reset_after", endpoint="login", times=-1), {7}),
    "login's answer odd": (fault(kind="status", endpoint="login", status=418, times=-1), {9}),
    "login's answer a page": (spoil("/login", page), {7}),
    "login's answer encoded": (spoil("/login", odd_encoding), {9}),
    "login redirected": (spoil("/login", redirect), {9}),
    "no token": (both(wants("none"), spoil("/login", odd_shape)), {9}),
    "unreachable": (unreachable, {7}),
    "no TLS there": (no_tls, {7}),
    "user info in the address": (with_user_info, {2}),
    "deadline at login": (saying(RUN, **{"deadline.run": "1ms"}), {6}),
    "trigger's answer lost": (fault(kind="reset_after", endpoint="trigger"), {0}),
    "trigger's answer odd": (fault(kind="status", endpoint="trigger", status=418), {9}),
    "trigger down": (fault(kind="status", endpoint="trigger", times=-1), {7}),
    "trigger redirected": (spoil("/trigger", redirect), {9, 8}),
    "tokens expire": (fault(kind="expire_tokens", endpoint="status"), {0}),
    "tokens never good": (fault(kind="status", endpoint="trigger", status=401, times=-1), {3, 9}),
    "status down": (fault(kind="status", endpoint="status", times=-1), {7}),
    "status a page": (spoil("/status", page), {7}),
    "status odd": (spoil("/status", odd_shape), {9}),
    "job fails": (fault(kind="job_fails", times=-1), {4}),
    "one job fails": (both(saying(["run", "workouts", *RUN[1:]]), fault(kind="job_fails", sync_type="health")), {5}),
    "job stalls": (both(fault(kind="job_stalls", times=-1), saying(RUN, **{"deadline.sync": "60s", "poll.max": "10s"})), {6}),
    "interrupted": (interrupt, {143}),
    "password in the YAML": (password_in_yaml, {2}),
    "password as a setting": (password_as_a_number, {2}),
    "misspelled variable": (misspelled, {2}),
    "defect": (defect, {1}),
    "defect with a cause": (defect_with_a_cause, {1}),
    "chatty library": (chatty_library, {0}),
}  # fmt: skip
