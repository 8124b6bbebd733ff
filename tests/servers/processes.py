"""Processes in an environment of their own: started, waited for until they answer, stopped, started again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx
import pytest

NPM = {"directus": "cli.js", "n8n": "bin/n8n"}  # where each has its program
ENVIRONMENTS = Path(__file__).parents[2] / ".venv"
PATIENCE = 300.0  # seconds until a server counts as never starting: two cores may be busy with other tests
_FOREIGN = ("AIRFLOW_", "CELERY_", "COV", "DAGSTER_", "DJANGO_", "FLOWER_", "PREFECT_")

# Stands between us and the server. A line on its standard input stops the server as an operator does; the end of its
# standard input kills all, also when a test run is killed.
GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: os._exit(server.wait() or 1), daemon=True).start()
if sys.stdin.readline():
    server.terminate()
    threading.Event().wait(20)
os.killpg(0, signal.SIGKILL)
"""


def tool(environment: str, name: str = "python") -> Path:
    """A program of one of the environments that the Makefile installs. Fails the test where it is missing."""
    program = ENVIRONMENTS / environment / "bin" / name
    if not program.exists():
        pytest.fail(f"{program.parents[1]} is missing: make .venv/.{environment}")
    return program


def npm_program(name: str) -> list[str | Path]:
    """Node.js with a program that the Makefile installs by npm. Fails the test where either is missing."""
    node, file = shutil.which("node"), ENVIRONMENTS / name / "node_modules" / name / NPM[name]
    if node is None or not file.exists():
        pytest.fail(f"{file} or node is missing: install Node.js 20, then make .venv/.{name}")
    return [node, file]


def answers(url: str, word: str = "") -> Callable[[], bool]:
    """Tells whether somebody answers there, with any status, and with that word."""

    def asked() -> bool:
        try:
            return word in httpx.get(url, timeout=5).text
        except httpx.HTTPError:
            return False

    return asked


def wait_until(met: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until `met` is true; AssertionError with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Program:
    """One program of a server. `ready` tells that it serves."""

    command: list[str | Path]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    cwd: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it. It may be waited for with `wait`."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", GUARD, *self.command],
                env={**clean, **self.environment}, cwd=self.cwd, start_new_session=True,
                stdin=subprocess.PIPE, stdout=output, stderr=output,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it serves."""
        end = time.monotonic() + PATIENCE
        while not self.ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it with SIGTERM, as an operator does; kill it if it does not end within 20 s."""
        if self._process is not None:
            with suppress(BrokenPipeError):
                self._process.communicate(b"\n")
            self.kill()

    def freeze(self) -> None:
        """Let it do nothing (SIGSTOP) until `thaw`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def __enter__(self) -> "Program":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def served(
    *command: str | Path, environment: Mapping[str, str], log: Path, until: Callable[[], bool], cwd: Path | None = None
) -> Iterator[None]:
    """Python of the small servers' environment with `command`, from when `until` holds to the end of the block."""
    with Program([tool("servers"), *command], environment, log, until, cwd) as program:
        program.wait()
        yield
