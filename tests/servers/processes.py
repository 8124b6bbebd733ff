"""Processes in the servers' environment: started, waited for until they answer, and ended with all that they started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).parents[2] / ".venv" / "servers"
PATIENCE = 300.0  # seconds until a server counts as never starting: two cores may be busy with other tests

# Stands between us and the server, and ends all when its standard input does: also when a test run is killed.
GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: os._exit(server.wait() or 1), daemon=True).start()
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(
    *command: str | Path, environment: Mapping[str, str], log: Path, until: Callable[[], bool], cwd: Path | None = None
) -> Iterator[None]:
    """Python of the servers' environment with `command`, from when `until` holds to the end of the block."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        pytest.fail("the servers' environment is missing: make .venv/.servers")
    redact = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DJANGO_", "COV"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-c", GUARD, python, *command], env={**redact, **environment}, cwd=cwd, start_new_session=True,
            stdin=subprocess.PIPE, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _wait(process, until, log)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _wait(process: subprocess.Popen[bytes], until: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)
