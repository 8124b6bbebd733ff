"""The real command line as a process: start it, signal it, and read its exit code, log lines and report."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from tests.support import forked

PATIENCE = 180.0  # seconds until a process counts as hanging


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended. Its whole standard error has been parsed as JSON lines."""

    code: int
    stdout: str
    stderr: str
    logs: list[dict[str, Any]]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of that event."""
        return [line for line in self.logs if line["event"] == name]

    @property
    def report(self) -> dict[str, Any]:
        """The report on standard output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def errors(self) -> str:
        """All errors that were logged."""
        return "\n".join(str(line["error"]) for line in self.logs if line.get("error"))


class Running:
    """A process on its way."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        redact = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "GITHUB_"))}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = forked.start(arguments, {**redact, **environment}, **pipes)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def finish(self, patience: float = PATIENCE) -> Finished:
        """Wait for the end. Every line on standard error must be one JSON object, in every test."""
        try:
            stdout, stderr = self.process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            raise AssertionError(f"hangs; so far:\n{stderr}") from None
        logs = []
        for line in stderr.splitlines():
            parsed = json.loads(line)
            assert isinstance(parsed, dict), line
            assert {"timestamp", "level", "event"} <= parsed.keys(), line
            logs.append(parsed)
        ours = [line for line in logs if line["event"] != "sync.log"]  # a job's own log may hold its traceback
        assert "Traceback" not in str(ours), stderr
        return Finished(self.process.returncode, stdout, stderr, logs)


def sync_runner(*arguments: str, **environment: str) -> Finished:
    """Run the command line to its end."""
    return Running(arguments, environment).finish()


@dataclass(slots=True)
class CommandLine:
    """A user's place: a sandbox to talk to, a directory with secrets, one for state."""

    server: SandboxServer
    home: Path
    profile: str = "garminsync"

    @property
    def secrets(self) -> Path:
        """The secrets directory, with the sandbox user's secrets in it."""
        path = self.home / "secrets"
        if not path.exists():
            write_secrets(path, self.server.credentials)
        return path

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.home / "state"

    def options(self) -> list[str]:
        """What every command line here begins with."""
        common = ["--base-url", self.server.base_url, "--secrets-dir", str(self.secrets), "--profile", self.profile]
        return [*common, "--state-dir", str(self.state), "--set", "retry.wait=10ms", "--set", "poll.min=20ms",
                "--set", "retry.connect_patience=0", "--set", "poll.patience=5s"]  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> Running:
        """Start a command."""
        return Running([*self.options(), *arguments], environment)

    def run(self, *arguments: str, **environment: str) -> Finished:
        """Run a command to its end; `run` prints its report."""
        report = ["--report", "-"] if arguments[:1] == ("run",) else []
        return self.start(*arguments, *report, **environment).finish()

    def fault(self, **fault: Any) -> None:
        """Have the sandbox spoil answers."""
        self._admin("POST", "/admin/faults", fault)

    def record(self) -> dict[str, Any]:
        """What the server saw and did: the judge."""
        return self._admin("GET", "/admin/record")

    def jobs(self, status: str | None = None) -> list[dict[str, Any]]:
        """The server's jobs."""
        return [job for job in self.record()["jobs"] if status in (None, job["status"])]

    def until(self, status: str, sync_type: str | None = None) -> dict[str, Any]:
        """Wait until the server has a job in that state."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = [job for job in self.jobs(status) if sync_type in (None, job["sync_type"])]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no job is {status}: {self.jobs()}")

    def _admin(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        import httpx

        headers = {"Authorization": f"Bearer {self.server.admin_token}"}
        answer = httpx.request(method, self.server.base_url + path, json=body, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
