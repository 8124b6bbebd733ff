"""Runs the sandbox: in a thread for the demo and tests, or in the foreground for the command."""

import contextlib
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

from runner.clock import rfc3339
from runner.sandbox import data
from runner.sandbox.app import Sandbox
from runner.sandbox.settings import SandboxSettings
from runner.sandbox.transports import Protocol

START_SECONDS = 20.0


class SandboxServer:
    """A sandbox on a thread, started with the `with` block and removed with all its data at its end."""

    def __init__(self, settings: SandboxSettings) -> None:
        """`settings.port` 0 selects a free port."""
        self.settings = settings
        self.base_url = ""
        self._stack = contextlib.ExitStack()

    @property
    def credentials(self) -> dict[str, str]:
        """The values that a client needs, by secret name."""
        found = {"username": self.settings.username, "password": self.settings.password}
        return {**found, "totp_seed": self.settings.totp_seed}

    @property
    def admin_token(self) -> str:
        """The bearer token of the /admin endpoints."""
        return self.settings.admin_token

    def __enter__(self) -> "SandboxServer":
        """Starts it and waits until it responds. Raises OSError where the port is in use."""
        self.sandbox, server, listening = prepare(self.settings, self._stack)
        host, port = listening.getsockname()[:2]
        self.base_url = f"http://{host}:{port}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = threading.Event()
        for _ in range(int(START_SECONDS * 100)):
            if server.started:
                break
            deadline.wait(0.01)
        else:
            raise OSError("the sandbox did not start")
        self._stop = (server, thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops and cleans up."""
        server, thread = self._stop
        server.should_exit = True
        thread.join(5.0)
        self._stack.close()


def prepare(settings: SandboxSettings, stack: contextlib.ExitStack) -> tuple[Sandbox, Any, socket.socket]:
    """Yields the sandbox, its server and its listening socket; `stack` cleans up what was created for it."""
    if settings.state is None:
        state = Path(tempfile.mkdtemp(prefix="sync-runner-sandbox-"))
        stack.callback(shutil.rmtree, state, ignore_errors=True)
    else:
        state = settings.state
        state.mkdir(parents=True, exist_ok=True)
    directory = settings.data or state / "data"
    if settings.data is None and not directory.exists():
        data.generate(directory, settings.seed, settings.last_day)
    sandbox = Sandbox(settings, state, directory)
    stack.callback(sandbox.state.close)
    listening = socket.create_server((settings.host, settings.port), backlog=2048)
    # Accepted connections inherit it. asyncio sets it only for sockets with an explicit protocol, which these lack:
    # without it, a response whose body waited for the acknowledgement of its head was 40 ms late.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stack.callback(listening.close)
    config = uvicorn.Config(
        sandbox.app(), http=Protocol, log_config=None, access_log=False, date_header=False, server_header=False,
        lifespan="on", timeout_graceful_shutdown=1, timeout_keep_alive=75,
    )  # fmt: skip
    return sandbox, uvicorn.Server(config), listening


def serve(settings: SandboxSettings, *, print_credentials: bool) -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError where the port is in use."""
    with contextlib.ExitStack() as stack:
        sandbox, server, listening = prepare(settings, stack)
        host, port = listening.getsockname()[:2]
        if print_credentials:
            found = {"base_url": f"http://{host}:{port}", "username": settings.username, "password": settings.password}
            found |= {"totp_seed": settings.totp_seed, "admin_token": sandbox.settings.admin_token}
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        _log(f"serving at http://{host}:{port}")
        server.run(sockets=[listening])


def _log(message: str) -> None:
    """Prints one line: readable on a terminal, else a JSON object, as the runner's own lines."""
    if sys.stderr.isatty():
        sys.stderr.write(f"sandbox: {message}\n")
    else:
        line = {"timestamp": rfc3339(time.time()), "level": "info", "event": "sandbox.serving", "message": message}
        sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
