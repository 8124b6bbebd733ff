"""Dagster's web server and daemon. Its database of runs is the judge."""

import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.interface import State
from tests.servers.processes import Program, answers, tool, wait_until
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "dagster"
SETTINGS = "telemetry: {enabled: false}\nrun_queue: {max_concurrent_runs: 4}\n"
WORKSPACE = "load_from: [{python_file: {relative_path: definitions.py, location_name: jobs}}]\n"
WORDS: dict[str, State] = {
    "QUEUED": "pending", "NOT_STARTED": "pending", "STARTING": "pending", "STARTED": "running", "CANCELING": "running",
    "SUCCESS": "completed", "FAILURE": "failed", "CANCELED": "cancelled",
}  # fmt: skip


class Dagster:
    """One Dagster: runs are queued, and started by the daemon as processes of their own."""

    profile = "dagster"
    secrets: ClassVar[dict[str, str]] = {}
    mark = b"launchRun"
    refused: ClassVar[dict[str, Any]] = {"seconds": "a word"}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        self.home = home
        (home / "dagster.yaml").write_text(SETTINGS)
        (home / "workspace.yaml").write_text(WORKSPACE)
        shutil.copy(WORK / "definitions.py", home)
        self._stack = stack
        self._environment = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
        self._web, self.base_url = self._server("web")
        self._web.wait()  # it makes the database: two that make it at once make it twice
        daemon: list[str | Path] = [tool("dagster", "dagster-daemon"), "run", "-w", "workspace.yaml"]
        stack.enter_context(Program(daemon, self._environment, home / "daemon.log", lambda: True, cwd=home))

    def _server(self, name: str, *options: str) -> tuple[Program, str]:
        port = free_port()
        base_url = f"http://127.0.0.1:{port}"
        command: list[str | Path] = [
            tool("dagster", "dagster-webserver"),
            "-w",
            "workspace.yaml",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
        ]
        ready = answers(f"{base_url}/server_info")
        program = Program([*command, *options], self._environment, self.home / f"{name}.log", ready, cwd=self.home)
        return self._stack.enter_context(program), base_url

    def read_only(self) -> str:
        """The address of a second web server, which starts nothing."""
        program, base_url = self._server("read-only", "--read-only")
        program.wait()
        return base_url

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A run of the job; what is given becomes the configuration of its op."""
        config = {"config": {"ops": {"sleep": {"config": given}}}} if given else {}
        return {"type": job, "params": {"location": "jobs", **config}}

    def jobs(self) -> dict[str, State]:
        """The runs in Dagster's database."""
        path = self.home / "history" / "runs.db"
        if not path.exists():
            return {}
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            return {run_id: WORDS[status] for run_id, status in database.execute("select run_id, status from runs")}

    def stop(self) -> None:
        """Stop the web server; runs and daemon go on."""
        self._web.stop()

    def start(self) -> None:
        """Start it again."""
        self._web.start()
        self._web.wait()
        wait_until(answers(f"{self.base_url}/server_info"), "Dagster's web server")
