"""Real parts for the tests of what the outside sees: the sandbox API, the command, a Pushgateway, a Prometheus."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.support import forked
from tests.support.ports import free_port
from tests.support.programs import need as need

PATIENCE = 30.0  # seconds: how long a test waits for what must happen; only a broken promise takes so long


T = TypeVar("T")


def until(poll: Callable[[], T | None], what: str) -> T:
    """What `look` gives once it gives something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = poll()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {what} within {PATIENCE:g} s")


def get(url: str, headers: dict[str, str] | None = None) -> str | None:
    """The body at `url`, or None where nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5) as answer:
            body: str = answer.read().decode()
            return body
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def lint(text: str) -> None:
    """`promtool check metrics`, which must find nothing."""
    done = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@dataclass(frozen=True)
class Done:
    """One run of the command, over."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log."""
        return [json.loads(line) for line in self.err.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.lines if line["event"] == name]


@dataclass
class Runner:
    """Runs the command against a sandbox."""

    server: SandboxServer
    secrets: Path
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        """The command line."""
        common = ["--base-url", self.server.base_url, "--secrets-dir", str(self.secrets), "--log-format", "json"]
        return [sys.executable, "-m", "runner", *common, *words]

    @property
    def env(self) -> dict[str, str]:
        """A clean environment."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SYNC_RUNNER_", "GITHUB_", "TRACEPARENT"))
        }
        return {**kept, **self.environment}

    def start(self, *words: str, **more: Any) -> "subprocess.Popen[str]":
        """The process, not waited for."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        return forked.start(self.command(*words)[3:], self.env, cwd=self.directory, **pipes)

    def run(self, *words: str) -> Done:
        """The process, ended."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=180)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def fault(self, **values: Any) -> None:
        """Let the API fail so."""
        from runner.sandbox.faults import Fault

        self.server.sandbox.faults.add(Fault(**values))


def settings(**values: str | Path | int | float) -> list[str]:
    """`metrics__listen=":1"` as --set words."""
    return [
        word
        for key, value in values.items()
        for word in ("--set", f"{key.replace('___', '-').replace('__', '.')}={value}")
    ]


@contextmanager
def sandbox_runner(directory: Path, **values: Any) -> Iterator[Runner]:
    """A sandbox with a runner for it."""
    chosen: dict[str, Any] = {"port": 0, "kdf": "fast", "mfa": "none", "username": "canary.user@example.org", **values}
    with SandboxServer(SandboxSettings(**chosen)) as server:
        write_secrets(directory / "secrets", server.credentials)
        yield Runner(server, directory / "secrets", directory)


@pytest.fixture
def runner(tmp_path: Path, year: Path) -> Iterator[Runner]:
    """The command, with a quick sandbox."""
    with sandbox_runner(tmp_path, data=year) as made:
        yield made


@contextmanager
def background(command: list[str], ready: Callable[[], object | None], directory: Path) -> Iterator[None]:
    """A server process that answers, and is gone afterwards."""
    with (directory / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        until(ready, f"answer of {Path(command[0]).name}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pushgateway_command(url: str, directory: Path) -> list[str]:
    """The command line of a Pushgateway that remembers nothing of other tests (Debian's keeps a file by default)."""
    listen = f"--web.listen-address={url.rpartition('/')[2]}"
    return [need("prometheus-pushgateway"), listen, f"--persistence.file={directory / 'pushed'}"]


@pytest.fixture
def pushgateway(tmp_path: Path) -> Iterator[str]:
    """The address of a real Pushgateway."""
    url = f"http://127.0.0.1:{free_port()}"
    with background(pushgateway_command(url, tmp_path), lambda: get(f"{url}/-/ready"), tmp_path):
        yield url
