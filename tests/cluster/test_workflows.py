"""Airflow runs the page's DAG: its KubernetesPodOperator starts the page's pod on the cluster.

The judges: the API's record of jobs, and Airflow's database.
"""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import HOST, apply, kubectl
from tests.cluster.lab import Lab, secret
from tests.servers.processes import tool
from tests.support.manifests import ROOT, Object
from tests.support.postgresql import PASSWORD, Server, postgresql

PAGE = (ROOT / "docs" / "deploy" / "workflows.md").read_text(encoding="utf-8")
POD, RIGHTS = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
(DAG,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def put(pod: Object, **variables: str) -> Object:
    """The page's pod with other values in its variables, and more of them."""
    changed: Object = json.loads(json.dumps(pod))
    (container,) = changed["spec"]["containers"]
    known = {one["name"]: one for one in container["env"]}
    for name, value in variables.items():
        if name in known:
            known[name]["value"] = value
        else:
            container["env"].append({"name": name, "value": value})
    return changed


@dataclass
class Airflow:
    """An Airflow whose tasks start pods as the service account of the page's Role."""

    home: Path
    lab: Lab
    database: Server

    def prepare(self) -> None:
        """The service account, its rights and its way to the API server; Airflow's database."""
        name = {"name": "airflow", "namespace": self.lab.space}
        role = {**RIGHTS, "metadata": {**RIGHTS["metadata"], "namespace": self.lab.space}}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": name,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", **name}],
        }  # fmt: skip
        kept = {"name": "sync-runner-database", "namespace": self.lab.space}
        apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}, role, binding,
            {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "stringData": {"password": PASSWORD}},
            self.lab.way("database", HOST, self.database.port),
        )  # fmt: skip
        config: dict[str, Any] = json.loads(
            kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json").stdout
        )
        token = kubectl("-n", self.lab.space, "create", "token", "airflow", "--duration=1h").stdout.strip()
        config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
        (self.home / "kubeconfig").write_text(json.dumps(config))
        self.command("db", "migrate")

    def command(self, *words: str, fails: bool = False) -> None:
        """A command of Airflow, which may say that a DAG run failed."""
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(self.home / "kubeconfig")}}
        environment = {
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
        }
        done = subprocess.run(
            [tool("airflow", "airflow"), *words], env=environment, capture_output=True, text=True, cwd=self.home
        )
        with (self.home / "airflow.log").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        assert fails or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def run(self, case: Case) -> tuple[str, int]:
        """A run of the page's DAG; how its task ended, and after how many tries."""
        pod = put(
            POD,
            SYNC_RUNNER_BASE_URL=case.url,
            SYNC_RUNNER_TLS__ALLOW_HTTP="true",
            SYNC_RUNNER_STATE__URL=self.database.url,
        )
        pod["spec"]["containers"][0]["image"] = "sync-runner:dev"
        dags = self.home / "dags"
        dags.mkdir(exist_ok=True)
        (dags / "sync-runner.yaml").write_text(yaml.safe_dump(pod))
        text = DAG.replace("/opt/airflow/dags", str(dags)).replace(
            'namespace="sync-runner"', f'namespace="{self.lab.space}"'
        )
        assert text.count(self.lab.space) == 1
        (dags / "sync.py").write_text(text.replace("minutes=5", "seconds=0"))
        self.command("dags", "test", "sync", fails=True)
        with closing(sqlite3.connect(self.home / "airflow.db")) as connection:
            query = "select state, try_number from task_instance order by rowid desc limit 1"
            found: tuple[str, int] = connection.execute(query).fetchone()
            return found


@pytest.fixture(scope="module")
def airflow(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """One for the module."""
    with postgresql(HOST) as database:
        made = Airflow(tmp_path_factory.mktemp("airflow"), lab, database)
        made.prepare()
        yield made


def test_the_pages_dag_runs_the_syncs_in_a_pod(airflow: Airflow, lab: Lab) -> None:
    case = lab.judge.case("airflow")
    assert airflow.run(case) == ("success", 1)
    assert case.ended() == [("activities", "completed"), ("health", "completed")]
    none_twice([case])


def test_a_further_try_of_a_task_runs_only_what_failed(airflow: Airflow, lab: Lab) -> None:
    case = lab.judge.case("airflow-again", fail="health", fail_times=1)
    assert airflow.run(case) == ("success", 2)
    assert case.ended() == [("activities", "completed"), ("health", "failed"), ("health", "completed")]
    none_twice([case])


def test_no_further_try_sends_a_refused_password_again(airflow: Airflow, lab: Lab) -> None:
    apply(secret("sync-runner", lab.space, username="somebody", password="wrong horse battery"))
    case = lab.judge.case("airflow-refused")
    assert airflow.run(case) == ("failed", 3)
    assert case.results() == ["password"]
    assert " is forbidden" not in (airflow.home / "airflow.log").read_text(encoding="utf-8")
