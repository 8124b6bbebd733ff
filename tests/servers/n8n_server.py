"""n8n with a one-time code. Its own database is the judge."""

import http.cookiejar
import json
import sqlite3
import urllib.request
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pyotp

from tests.servers.interface import State
from tests.servers.processes import Program, answers, npm_program
from tests.support.ports import free_port

LOGIN = {"username": "op@example.com", "password": "Correct-horse1"}
WORDS: dict[str, State] = {
    "new": "pending", "running": "running", "waiting": "running", "success": "completed", "error": "failed",
    "crashed": "failed", "canceled": "cancelled",
}  # fmt: skip


class N8n:
    """One n8n with workflows that begin by hand."""

    profile = "n8n"
    mark = b"/run HTTP"
    refused: ClassVar[dict[str, Any]] = {}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        port = free_port()
        self.base_url, self._home = f"http://127.0.0.1:{port}", home
        environment = {
            "N8N_USER_FOLDER": str(home), "N8N_PORT": str(port), "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_DIAGNOSTICS_ENABLED": "false", "N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_SECURE_COOKIE": "false",
            "N8N_TEMPLATES_ENABLED": "false", "N8N_RUNNERS_ENABLED": "false", "N8N_EXPRESSION_ENGINE": "legacy",
        }  # fmt: skip
        command = [*npm_program("n8n"), "start"]
        ready = answers(f"{self.base_url}/rest/settings", "data")  # before, it says that it starts
        self._program = stack.enter_context(Program(command, environment, home / "n8n.log", ready, cwd=home))
        self._program.wait()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        self.secrets = LOGIN | {"totp_seed": self._set_up()}
        for job, seconds in (("nap", 3), ("long", 600), ("fails", 1)):
            self._ask("POST", "/rest/workflows", _workflow(job, seconds))

    def _set_up(self) -> str:
        """The owner, with a one-time code from now on; its seed."""
        owner = {"email": LOGIN["username"], "password": LOGIN["password"], "firstName": "O", "lastName": "P"}
        self._ask("POST", "/rest/owner/setup", owner)
        seed: str = self._ask("GET", "/rest/mfa/qr")["secret"]
        for step in ("verify", "enable"):
            self._ask("POST", f"/rest/mfa/{step}", {"mfaCode": pyotp.TOTP(seed).now()})
        return seed

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, raw, {"Content-Type": "application/json"}, method=method)
        with self._opener.open(request, timeout=60) as answer:
            return json.loads(answer.read()).get("data")

    def sync(self, job: str, seconds: float = 3, **given: Any) -> dict[str, Any]:
        """An execution of the workflow: the short or the long one."""
        return {"type": "long" if job == "nap" and seconds > 3 else job}

    def jobs(self) -> dict[str, State]:
        """The executions, from its database."""
        with closing(
            sqlite3.connect(f"file:{self._home}/.n8n/database.sqlite?mode=ro", uri=True, timeout=30)
        ) as database:
            return {
                str(name): WORDS[word] for name, word in database.execute("SELECT id, status FROM execution_entity")
            }

    def sessions(self) -> int:
        """The cookies that are good: n8n notes those that were given back before their end."""
        with closing(
            sqlite3.connect(f"file:{self._home}/.n8n/database.sqlite?mode=ro", uri=True, timeout=30)
        ) as database:
            found: int = database.execute("SELECT -COUNT(*) FROM invalid_auth_token").fetchone()[0]
            return found

    def stop(self) -> None:
        """Stop it; executions end with it."""
        self._program.stop()

    def start(self) -> None:
        """Start it again."""
        self._program.start()
        self._program.wait()


def _workflow(job: str, seconds: int) -> dict[str, Any]:
    def node(name: str, kind: str, version: float, **parameters: Any) -> dict[str, Any]:
        return {
            "id": name, "name": name, "type": f"n8n-nodes-base.{kind}", "typeVersion": version, "position": [0, 0],
            "parameters": parameters,
        }  # fmt: skip

    nodes = [node("Begin", "manualTrigger", 1), node("Wait", "wait", 1.1, amount=seconds, unit="seconds")]
    if job == "fails":
        nodes.append(node("Stop", "stopAndError", 1, errorMessage="the disk is full"))
    names = [one["name"] for one in nodes]
    to = {one: {"main": [[{"node": after, "type": "main", "index": 0}]]} for one, after in pairwise(names)}
    settings = {"executionOrder": "v1", "saveManualExecutions": True, "saveExecutionProgress": True}
    return {"name": job, "active": False, "nodes": nodes, "connections": to, "settings": settings}
