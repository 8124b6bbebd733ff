"""What the matrix asks of a real server, and the place of a user who has the runner beside it."""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tests.servers.processes import wait_until
from tests.support.command_line import Finished, Running

State = Literal["pending", "running", "completed", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("completed", "failed", "cancelled")
HANGS = 180.0  # seconds until a run counts as hanging


class RealServer(Protocol):
    """A server that we did not write, its account for the runner, and its own record of jobs.

    `mark` are the bytes by which a trigger is known on the wire, `refused` what the server does not let a `nap` be given.
    """

    profile: str
    base_url: str
    secrets: Mapping[str, str]
    mark: bytes
    refused: Mapping[str, Any]

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """The settings of a sync that runs `job` (`nap` for `seconds`, or `fails`)."""

    def jobs(self) -> dict[str, State]:
        """Every job that the server has ever had, by id, from its own database or API."""

    def stop(self) -> None:
        """Stop what answers the runner. Jobs go on."""

    def start(self) -> None:
        """Start it again, at the same address."""


@dataclass
class Place:
    """A user's directory beside a server. What the server had before counts for nothing here."""

    server: RealServer
    home: Path
    before: set[str] = field(init=False)
    state: Path = field(init=False)
    base_url: str = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.before = set(self.server.jobs())
        self.base_url = self.server.base_url
        self.state = getattr(self.server, "state", self.home / "state")
        self.secrets(self.server.secrets)

    def secrets(self, secrets: Mapping[str, str]) -> None:
        """Mount other secrets."""
        (self.home / "secrets").mkdir(exist_ok=True)
        for name, secret in secrets.items():
            file = self.home / "secrets" / name
            file.touch(mode=0o600)
            file.write_text(secret)

    @property
    def jobs(self) -> dict[str, State]:
        """What the server's record says of jobs that came since: the judge."""
        return {job_id: state for job_id, state in self.server.jobs().items() if job_id not in self.before}

    def command(self, *words: str, syncs: list[dict[str, Any]] | None = None, **settings: Any) -> Running:
        """The real command line as a process, with its settings in a file."""
        given = {
            "profile": self.server.profile, "base_url": self.base_url, "secrets_dir": str(self.home / "secrets"),
            "state": {"dir": str(self.state)}, "poll": {"min": "300ms", "max": "2s"}, "syncs": syncs or [],
            **settings,
        }  # fmt: skip
        config = self.home / f"runner-{len(list(self.home.iterdir()))}.yaml"
        config.write_text(json.dumps(given))
        return Running(["--config", str(config), *words], {})

    def start(self, job: str, seconds: float | None = None, **settings: Any) -> Running:
        """A run with one sync of that job."""
        given = {} if seconds is None else {"seconds": seconds}
        return self.command("run", "--report", "-", syncs=[self.server.sync(job, **given)], **settings)

    def run(self, job: str, seconds: float | None = None, **settings: Any) -> Finished:
        """A run to its end."""
        return self.start(job, seconds, **settings).finish(HANGS)

    def until(self, *states: State) -> str:
        """Wait until the only new job is in one of those states; its id."""
        wait_until(lambda: set(self.jobs.values()) & set(states), f"a job {states}: {self.jobs}", HANGS)
        (job_id,) = self.jobs
        return job_id

    def ended(self) -> State:
        """Wait until the only new job has ended; how."""
        job_id = self.until(*ENDED)
        return self.jobs[job_id]


def only(ended: Finished) -> dict[str, Any]:
    """What the report says of its only sync."""
    (sync,) = ended.report["syncs"]
    found: dict[str, Any] = sync
    return found


def terminate(running: Running) -> Finished:
    """SIGTERM, and the end."""
    running.signal(signal.SIGTERM)
    return running.finish()
