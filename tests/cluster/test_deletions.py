"""Pods deleted, evicted and killed at random moments: one job at a time, none left running.

State is on a volume, and in PostgreSQL. SYNC_RUNNER_PODS says how many pods of each, 9 without it.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import HOST, apply, get, kubectl
from tests.cluster.lab import Lab, secret
from tests.support.postgresql import PASSWORD, postgresql

SEED, PODS = 1, int(os.environ.get("SYNC_RUNNER_PODS", "9"))
WAYS = ("delete", "evict", "kill")


def strike(lab: Lab, pod: str, how: str) -> None:
    """Take the pod away: with grace, as a drain does it, or its process by SIGKILL."""
    if how == "delete":
        kubectl("-n", lab.space, "delete", "pod", pod, "--wait=false", check=False)
    elif how == "evict":
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{lab.space}/pods/{pod}/eviction"
        kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction), check=False)
    else:
        kill(lab, pod)


def kill(lab: Lab, pod: str) -> None:
    """SIGKILL does not reach a first process from within its container: it is sent from outside, to the process of the pod."""
    uid = get("pod", pod, "-n", lab.space)["metadata"]["uid"]
    found = subprocess.run(["pgrep", "-f", "sync-runner run --config"], capture_output=True, text=True).stdout.split()
    for pid in found:
        with open(f"/proc/{pid}/cgroup") as file:
            if uid in file.read().replace("_", "-"):
                subprocess.run(["kill", "-KILL", pid], check=False)


def struck(lab: Lab, name: str, case: Case, env: dict[str, str], wait: float, how: str) -> None:
    """Start a Job, and take its pod away after so many seconds. Without `env` its state is on a volume."""
    lab.start(name, case, credentials=name, env=env, state="" if env else name)
    pod = lab.runs(name).name
    time.sleep(wait)
    strike(lab, pod, how)


def in_database(lab: Lab, stack: ExitStack) -> dict[str, str]:
    """The variables of a run whose state is in a PostgreSQL of the test's own."""
    database = stack.enter_context(postgresql(HOST))
    apply(lab.way("database", HOST, database.port))
    return {"SYNC_RUNNER_STATE__URL": database.url, "SYNC_RUNNER_STATE_PASSWORD": PASSWORD}


@pytest.fixture(scope="module", params=["volume", "postgresql"])
def cases(lab: Lab, request: pytest.FixtureRequest) -> Iterator[dict[str, Case]]:
    """The APIs of the Jobs, which have all ended. They let a second job start beside a first."""
    rng = random.Random(SEED)
    names = [f"{request.param}-{number}" for number in range(PODS)]
    found = {name: lab.judge.case(name, seconds=4.0, second_jobs=True) for name in names}
    with ExitStack() as stack:
        env = in_database(lab, stack) if request.param == "postgresql" else {}
        apply(*(secret(name, lab.space, username=name) for name in names))
        for name in () if env else names:
            lab.claim(name)
        with ThreadPoolExecutor(PODS) as together:
            waits = [rng.uniform(0, 6) for _ in found]
            hows = [WAYS[number % 3] for number in range(PODS)]
            list(together.map(lambda *one: struck(lab, *one), names, found.values(), [env] * PODS, waits, hows))
        for name in names:
            lab.ended(name)
        yield found


def test_no_job_runs_beside_another_and_none_is_left_running(cases: dict[str, Case]) -> None:
    none_twice(cases.values())


def test_every_job_completes_and_no_code_is_spent_twice(lab: Lab, cases: dict[str, Case]) -> None:
    assert {name: "Complete" in lab.conditions(name) for name in cases} == dict.fromkeys(cases, True)
    assert all(set(case.results()) == {"good"} for case in cases.values())
