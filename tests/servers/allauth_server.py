"""A site whose login is django-allauth's, with one-time codes. Its database is the judge."""

import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.interface import State
from tests.servers.processes import Program, answers, tool
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "allauth"
MEMBER = {"username": "runner", "password": "correct horse battery", "totp_seed": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}


class Allauth:
    """One site. Its users' states are kept together, for a code is used once."""

    profile = str(WORK / "profile.yaml")
    secrets = MEMBER
    mark = b"POST /jobs?"
    unknown = "999999"  # a job's number
    refused: ClassVar[dict[str, Any]] = {"seconds": "a word"}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        self.home = home
        self.state = home / "state"
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        environment = {
            "USERNAME": MEMBER["username"], "PASSWORD": MEMBER["password"], "SEED": MEMBER["totp_seed"],
            "SECRET_KEY": "a key of this test that outlives a restart",
        }  # fmt: skip
        command: list[str | Path] = [tool("servers"), WORK / "allauth_site.py", str(port), home]
        ready = answers(f"{self.base_url}/record")
        self._site = stack.enter_context(Program(command, environment, home / "log", ready))
        self._site.wait()

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A job of that topic."""
        return {"type": job, **({"params": {name: str(value) for name, value in given.items()}} if given else {})}

    def jobs(self) -> dict[str, State]:
        """The jobs in the site's database."""

        with closing(sqlite3.connect(f"file:{self.home / 'jobs.sqlite3'}?mode=ro", uri=True, timeout=30)) as database:
            rows = database.execute("select number, topic, began + seconds, cancelled from job").fetchall()
        found: dict[str, State] = {}
        for number, topic, end, cancelled in rows:
            ended: State = "failed" if topic == "fails" else "completed"
            found[str(number)] = "cancelled" if cancelled else ended if time.time() >= end else "running"
        return found

    def end_sessions(self) -> None:
        """End every session at the site, as its operator can."""
        with closing(sqlite3.connect(self.home / "site.sqlite3", timeout=30)) as database, database:
            database.execute("delete from django_session")

    def stop(self) -> None:
        """Stop the site. Jobs go on: they are a matter of time."""
        self._site.stop()

    def start(self) -> None:
        """Start it again."""
        self._site.start()
        self._site.wait()
