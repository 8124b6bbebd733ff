"""Directus with a one-time code, and a flow that works on the rows of a collection. Its own database is the judge."""
# Decision 0175.

import json
import sqlite3
import subprocess
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

import pyotp

from tests.servers.interface import State
from tests.servers.processes import Program, answers, npm_program
from tests.support.ports import free_port

LOGIN = {"username": "admin@example.com", "password": "correct-horse"}
WORDS: dict[str, State] = {"queued": "pending", "working": "running", "done": "completed", "error": "failed"}


class Directus:
    """One Directus. A job takes three seconds."""

    profile = "directus-flow"
    mark = b"POST /items/jobs"
    refused: ClassVar[dict[str, Any]] = {}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        port = free_port()
        self.base_url, self._database = f"http://127.0.0.1:{port}", home / "directus.sqlite"
        environment = {
            "HOST": "127.0.0.1", "PORT": str(port), "PUBLIC_URL": self.base_url, "SECRET": "0123456789abcdef" * 2,
            "DB_CLIENT": "sqlite3", "DB_FILENAME": str(self._database), "ADMIN_EMAIL": LOGIN["username"],
            "ADMIN_PASSWORD": LOGIN["password"], "TELEMETRY": "false", "LOG_LEVEL": "warn", "PATH": "/usr/bin:/bin",
        }  # fmt: skip
        tool = npm_program("directus")
        with (home / "bootstrap.log").open("wb") as log:
            subprocess.run([*tool, "bootstrap"], env=environment, cwd=home, stdout=log, stderr=log, check=True)
        ready = answers(f"{self.base_url}/server/ping")
        self._program = stack.enter_context(
            Program([*tool, "start"], environment, home / "directus.log", ready, cwd=home)
        )
        self._program.wait()
        login = {"email": LOGIN["username"], "password": LOGIN["password"]}
        self._token: str | None = None
        self._token = self._ask("POST", "/auth/login", login)["access_token"]
        self._work()
        self.secrets = LOGIN | {"totp_seed": self._second_factor()}

    def _ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        request = urllib.request.Request(self.base_url + path, json.dumps(body).encode(), headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            read = answer.read()
        return json.loads(read)["data"] if read else None

    def _second_factor(self) -> str:
        seed: str = self._ask("POST", "/users/me/tfa/generate", {"password": LOGIN["password"]})["secret"]
        code = pyotp.TOTP(
            seed + 16 * "A"
        ).now()  # pyotp wants longer keys than Directus gives; zero bytes change no code
        self._ask("POST", "/users/me/tfa/enable", {"secret": seed, "otp": code})
        return seed

    def _work(self) -> None:
        """The collection, and the flow that a new row starts: working, half done, and done or an error."""

        def column(name: str, kind: str, schema: Any = None, **meta: Any) -> dict[str, Any]:
            return {"field": name, "type": kind, "schema": schema or {}, "meta": meta}

        fields = [
            column("id", "string", {"is_primary_key": True, "length": 64}), column("kind", "string"),
            column("payload", "json", special=["cast-json"]), column("status", "string", {"default_value": "queued"}),
            column("progress", "integer"), column("error", "string"), column("result", "json", special=["cast-json"]),
            column("created", "timestamp", special=["date-created"]),
        ]  # fmt: skip
        self._ask("POST", "/collections", {"collection": "jobs", "schema": {}, "meta": {}, "fields": fields})
        options = {"type": "action", "scope": ["items.create"], "collections": ["jobs"]}
        flow = {"name": "work", "status": "active", "trigger": "event", "accountability": "all", "options": options}
        self._flow = self._ask("POST", "/flows", flow)["id"]
        done = self._writes("done", {"status": "done", "progress": 100, "result": {"rows": 12}})
        bad = self._writes("bad", {"status": "error", "error": "the disk is full"})
        is_bad = {"filter": {"$trigger": {"payload": {"kind": {"_eq": "fails"}}}}}
        first = self._step("which", "condition", is_bad, bad, done)
        for name, progress in (("half", 50), ("begun", 10)):
            pause = self._step(f"after_{name}", "sleep", {"milliseconds": "1500"}, first)
            first = self._writes(name, {"status": "working", "progress": progress}, pause)
        self._ask("PATCH", f"/flows/{self._flow}", {"operation": first})

    def _writes(self, key: str, values: dict[str, Any], then: str | None = None) -> str:
        options = {
            "collection": "jobs", "permissions": "$full", "emitEvents": False, "key": ["{{$trigger.key}}"],
            "payload": json.dumps(values),
        }  # fmt: skip
        return self._step(key, "item-update", options, then)

    def _step(self, key: str, kind: str, options: Any, then: str | None = None, other: str | None = None) -> str:
        step = {
            "flow": self._flow, "key": key, "name": key, "type": kind, "options": options, "position_x": 1,
            "position_y": 1, "resolve": then, "reject": other,
        }  # fmt: skip
        made: str = self._ask("POST", "/operations", step)["id"]
        return made

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A row of that kind."""
        return {"type": job, **({"params": {"payload": given}} if given else {})}

    def _select(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(statement).fetchall()

    def jobs(self) -> dict[str, State]:
        """The rows, from its database."""
        return {name: WORDS[word] for name, word in self._select("SELECT id, status FROM jobs")}

    def sessions(self) -> int:
        """The refresh tokens that are good."""
        return len(self._select("SELECT token FROM directus_sessions"))

    def stop(self) -> None:
        """Stop it; flows end with it."""
        self._program.stop()

    def start(self) -> None:
        """Start it again."""
        self._program.start()
        self._program.wait()
