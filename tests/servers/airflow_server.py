"""Apache Airflow with its scheduler and DAG processor. Its database is the judge."""

import json
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.servers.interface import State
from tests.servers.processes import Program, answers, tool, wait_until
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "airflow"
OPERATOR = {"username": "runner", "password": "correct horse"}
VIEWER = {"username": "watcher", "password": "battery staple"}
TOKEN_SECONDS = 20  # a token's life: less than a watch takes
NOTE = "cancelled by sync-runner"


class Airflow:
    """One Airflow. The API that the runner sees and the one that tasks report to are processes of their own."""

    profile = "airflow"
    secrets = OPERATOR
    mark = b"/dagRuns HTTP/1.1\r\n"
    refused: ClassVar[dict[str, Any]] = {"seconds": "a word"}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        self.home = home
        port, internal = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        self._environment = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "a key of this test",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test that is long enough",
            "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": str(TOKEN_SECONDS),
            "AIRFLOW__CORE__DAGS_FOLDER": str(WORK),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{internal}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.auth_manager(),
        }
        airflow = tool("airflow", "airflow")
        self.command("db", "migrate")
        self.prepare()

        def program(name: str, *words: str, ready: Any) -> Program:
            return stack.enter_context(
                Program([airflow, *words], self._environment, home / f"{name}.log", ready, cwd=home)
            )

        serving = ["--host", "127.0.0.1", "--port"]
        self._api = program(
            "api", "api-server", "--apps", "core", *serving, str(port), ready=answers(f"{self.base_url}/api/v2/version")
        )
        tasks = program(
            "tasks", "api-server", "--apps", "execution", *serving, str(internal),
            ready=answers(f"http://127.0.0.1:{internal}/execution/health"),
        )  # fmt: skip
        self._scheduler = program("scheduler", "scheduler", ready=lambda: True)
        program("dags", "dag-processor", ready=lambda: True)
        self._api.wait()
        tasks.wait()
        wait_until(lambda: self._rows("select dag_id from serialized_dag") >= [("fails",), ("nap",)], "the DAGs", 120)

    def auth_manager(self) -> dict[str, str]:
        """The settings of who may do what: here Airflow's own simple manager."""
        users = {each["username"]: each["password"] for each in (OPERATOR, VIEWER)}
        (self.home / "passwords.json").write_text(json.dumps(users))
        return {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{OPERATOR['username']}:op,{VIEWER['username']}:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
        }

    def prepare(self) -> None:
        """What comes between the database and the start: here nothing."""

    def command(self, *words: str) -> None:
        """Run a command of Airflow to its end."""
        environment = {"PATH": "/usr/bin:/bin", **self._environment}
        subprocess.run([tool("airflow", "airflow"), *words], env=environment, check=True, capture_output=True)

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A run of the DAG of that name; what is given becomes its configuration."""
        return {"type": job, **({"params": {"conf": given}} if given else {})}

    def jobs(self) -> dict[str, State]:
        """The runs in Airflow's database. A failed one with our note was cancelled."""
        words: dict[str, State] = {
            "queued": "pending",
            "running": "running",
            "success": "completed",
            "failed": "failed",
        }
        rows = self._rows(
            "select run_id, state, content, (select count(*) from task_instance where task_instance.run_id = dag_run.run_id"
            " and task_instance.state = 'running')"
            " from dag_run left join dag_run_note on dag_run_note.dag_run_id = dag_run.id"
        )
        # A run whose task has not begun counts as pending: set to failed then, Airflow may make a success of it, as it
        # skips the task and its scheduler finds nothing that failed.
        return {
            run_id: "cancelled"
            if (state, note) == ("failed", NOTE)
            else words["queued" if state == "running" and not tasks else state]
            for run_id, state, note, tasks in rows
        }

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=30)) as database:
            return sorted(database.execute(query).fetchall())

    def stop(self) -> None:
        """Stop the API that the runner sees."""
        self._api.stop()

    def start(self) -> None:
        """Start it again."""
        self._api.start()
        self._api.wait()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What Airflow answers to its operator."""
        token = httpx.post(f"{self.base_url}/auth/token", json=OPERATOR, timeout=60).json()["access_token"]
        answer = httpx.request(
            method,
            f"{self.base_url}/api/v2{path}",
            json=body or None,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json()

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear a run: its tasks are run again. A run that has ended is queued."""
        self.ask("POST", f"/dags/{dag_id}/dagRuns/{run_id}/clear", dry_run=False)

    def requeue(self, dag_id: str, run_id: str) -> None:
        """Put a running run back into the queue. A busy scheduler takes it up after five seconds."""
        self._scheduler.freeze()
        try:
            self.ask("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", state="queued")
            time.sleep(5)
        finally:
            self._scheduler.thaw()
