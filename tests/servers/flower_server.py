"""Celery: a Redis, a worker, and Flower before them. Redis, and what the tasks themselves wrote down, are the judges."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.servers.interface import State
from tests.servers.processes import Program, answers, tool
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "flower"
LOGIN = {"username": "runner", "password": "correct horse"}
WORDS: dict[str, State] = {
    "PENDING": "pending", "RECEIVED": "pending", "STARTED": "running", "RETRY": "running", "SUCCESS": "completed",
    "FAILURE": "failed", "REJECTED": "failed", "REVOKED": "cancelled",
}  # fmt: skip


class Flower:
    """One Flower with a worker of four processes."""

    profile = "flower"
    secrets = LOGIN
    mark = b"/async-apply/"
    refused: ClassVar[dict[str, Any]] = {"word": "no such argument"}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        self.home, self._stack = home, stack
        self._redis_port = free_port()
        self.executions = home / "executions"
        self.executions.touch()
        self._environment = {
            "REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "EXECUTIONS": str(self.executions),
            "PYTHONPATH": str(WORK),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        redis: list[str | Path] = [
            _system("redis-server"),
            "--port",
            str(self._redis_port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]
        self._program("redis", *redis, ready=lambda: self._redis("PING") == "PONG").wait()
        celery: list[str | Path] = [tool("flower", "celery"), "-A", "tasks"]
        worker = self._program("worker", *celery, "worker", "-l", "info", "-c", "4", "-E", ready=self._worker_works)
        self._flower, self.base_url = self._server("flower")
        worker.wait()
        self._flower.wait()

    def _program(self, name: str, *command: str | Path, ready: Any) -> Program:
        program = Program([*command], self._environment, self.home / f"{name}.log", ready, cwd=self.home)
        return self._stack.enter_context(program)

    def _server(self, name: str, *options: str) -> tuple[Program, str]:
        port = free_port()
        login = ":".join(LOGIN.values())
        base_url = f"http://127.0.0.1:{port}"
        command: list[str | Path] = [
            tool("flower", "celery"),
            "-A",
            "tasks",
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
        ]
        ready = answers(f"{base_url}/healthcheck")
        return self._program(name, *command, f"--basic-auth={login}", *options, ready=ready), base_url

    def read_only(self) -> str:
        """The address of a second Flower, which starts nothing."""
        program, base_url = self._server("read-only", "--read_only=True")
        program.wait()
        return base_url

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A task; what is given are its keyword arguments."""
        return {"type": job, **({"params": {"kwargs": given}} if given else {})}

    def jobs(self) -> dict[str, State]:
        """The tasks that a worker has begun, and what Redis says of each."""
        executed = [line.split()[0] for line in self.executions.read_text().splitlines()]
        twice = {task for task in executed if executed.count(task) > 1}
        assert not twice, f"run twice by the worker: {twice}"
        return {task: WORDS[self._result(task)] for task in executed}

    def _result(self, task: str) -> str:
        said = self._redis("GET", f"celery-task-meta-{task}")
        return str(json.loads(said)["status"]) if said else "STARTED"

    def _redis(self, *words: str) -> str:
        command = [_system("redis-cli"), "-p", str(self._redis_port), "--raw", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def _worker_works(self) -> bool:
        return "ready." in (self.home / "worker.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop Flower; the worker goes on."""
        self._flower.stop()

    def start(self) -> None:
        """Start it again. It has forgotten what it saw."""
        self._flower.start()
        self._flower.wait()


def _system(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install redis-server")
    return found
