"""Pods deleted, evicted and killed at random moments: one job at a time, none left running.

State is on a volume, on a volume with the sessions in a Secret, and in PostgreSQL. SYNC_RUNNER_PODS says how many pods of
each, 9 without it; at most nine Jobs run at once.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import HOST, apply, awaited, get, kubectl
from tests.cluster.lab import Lab, secret
from tests.cluster.test_token_secret import POD, bring
from tests.support.postgresql import PASSWORD, postgresql

SEED, PODS = 1, int(os.environ.get("SYNC_RUNNER_PODS", "9"))
AT_ONCE = 9
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
        with suppress(OSError):  # it has just ended
            if uid in Path(f"/proc/{pid}/cgroup").read_text().replace("_", "-"):
                subprocess.run(["kill", "-KILL", pid], check=False)


def struck(lab: Lab, name: str, case: Case, how_state: dict[str, Any], wait: float, how: str) -> None:
    """Start a Job, take its pod away after so many seconds, and wait for the Job's end."""
    lab.start(name, case, credentials=name, **how_state)

    def begun() -> str | None:  # or over: on a busy machine kubectl may take longer than the run
        return next((pod.name for pod in lab.pods(name) if pod.phase != "Pending"), None)

    pod: str = awaited(f"a pod of Job {name}", begun)
    time.sleep(wait)
    strike(lab, pod, how)
    lab.ended(name)


def in_database(lab: Lab, stack: ExitStack, names: list[str]) -> list[dict[str, Any]]:
    """Of each run, what puts its state into a PostgreSQL of the test's own."""
    database = stack.enter_context(postgresql(HOST))
    apply(lab.way("database", HOST, database.port))
    return [{"env": {"SYNC_RUNNER_STATE__URL": database.url, "SYNC_RUNNER_STATE_PASSWORD": PASSWORD}} for _ in names]


def on_volumes(lab: Lab, _stack: ExitStack, names: list[str]) -> list[dict[str, Any]]:
    """Each run has a volume for its state."""
    return [{"state": lab.claim(name)} for name in names]


def in_secrets(lab: Lab, stack: ExitStack, names: list[str]) -> list[dict[str, Any]]:
    """Each run has a volume, and keeps its session in a Secret of its own."""
    bring(lab, resourceNames=names_of_sessions(names))
    apply(*(secret(name, lab.space, username=None, password=None, totp_seed=None) for name in names_of_sessions(names)))
    return [
        {**volume, "env": {"SYNC_RUNNER_STATE__KUBERNETES_SECRET": session}, "pod": POD}
        for volume, session in zip(on_volumes(lab, stack, names), names_of_sessions(names), strict=True)
    ]


def names_of_sessions(names: list[str]) -> list[str]:
    """The Secrets of these runs' sessions."""
    return [f"{name}-session" for name in names]


@pytest.fixture(scope="module", params=[on_volumes, in_secrets, in_database], ids=["volume", "secret", "postgresql"])
def cases(lab: Lab, request: pytest.FixtureRequest) -> Iterator[dict[str, Case]]:
    """The APIs of the Jobs, which have all ended. They let a second job start beside a first."""
    rng = random.Random(SEED)
    names = [f"{request.param.__name__.replace('_', '-')}-{number}" for number in range(PODS)]
    found = {name: lab.judge.case(name, seconds=8.0, second_jobs=True) for name in names}
    with ExitStack() as stack:
        states = request.param(lab, stack, names)
        apply(*(secret(name, lab.space, username=name) for name in names))
        with ThreadPoolExecutor(AT_ONCE) as together:
            waits = [rng.uniform(0, 6) for _ in found]
            hows = [WAYS[number % 3] for number in range(PODS)]
            list(together.map(lambda *one: struck(lab, *one), names, found.values(), states, waits, hows))
        yield found


def test_no_job_runs_beside_another_and_none_is_left_running(cases: dict[str, Case]) -> None:
    none_twice(cases.values())


def test_every_job_completes_and_no_code_is_spent_twice(lab: Lab, cases: dict[str, Case]) -> None:
    assert {name: "Complete" in lab.conditions(name) for name in cases} == dict.fromkeys(cases, True)
    assert {name: set(case.results()) for name, case in cases.items()} == {name: {"good"} for name in cases}
