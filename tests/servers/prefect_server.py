"""Prefect's own server, and the process that runs its flows. Prefect's API is the judge."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.servers.interface import State
from tests.servers.processes import Program, tool
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "prefect"
LOGIN = {"username": "runner", "password": "correct horse"}
FLOWS = 4
WORDS: dict[str, State] = {
    "SCHEDULED": "pending", "PENDING": "pending", "RUNNING": "running", "PAUSED": "running", "CANCELLING": "running",
    "COMPLETED": "completed", "FAILED": "failed", "CRASHED": "failed", "CANCELLED": "cancelled",
}  # fmt: skip


class Prefect:
    """A Prefect server that wants a password."""

    profile = "prefect"
    secrets = LOGIN
    mark = b"/create_flow_run"
    refused: ClassVar[dict[str, Any]] = {"seconds": "a word"}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}/api"
        login = ":".join(LOGIN.values())
        environment = {
            "PREFECT_HOME": str(home), "PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login,
            "PREFECT_API_URL": self.base_url, "PREFECT_RUNNER_POLL_FREQUENCY": "1", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false", "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        }  # fmt: skip
        asgi = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", str(port)]
        python = tool("prefect")
        self._server = stack.enter_context(Program([python, *asgi], environment, home / "server.log", self._answers))
        self._server.wait()
        flows = Program([python, WORK / "flows.py"], environment, home / "flows.log", self._deployed, cwd=home)
        stack.enter_context(flows).wait()

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/health") is True
        except httpx.HTTPError:
            return False

    def _deployed(self) -> bool:
        return len(self.ask("POST", "/deployments/filter")) == FLOWS

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What Prefect's API answers."""
        auth = (LOGIN["username"], LOGIN["password"])
        answer = httpx.request(method, self.base_url + path, json=body or None, auth=auth, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def runs(self, flow: str | None = None) -> list[dict[str, Any]]:
        """All runs of that flow, or of all."""
        chosen = {"flows": {"name": {"any_": [flow]}}} if flow else {}
        found: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", sort="START_TIME_DESC", **chosen)
        return found

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A run of the flow; what is given are its parameters."""
        return {"type": job, **({"params": {"parameters": given}} if given else {})}

    def jobs(self) -> dict[str, State]:
        """The flow runs."""
        return {run["id"]: WORDS[run["state_type"]] for run in self.runs()}

    def stop(self) -> None:
        """Stop the server; flows go on."""
        self._server.stop()

    def start(self) -> None:
        """Start it again."""
        self._server.start()
        self._server.wait()
