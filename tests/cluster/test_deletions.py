"""Pods deleted, evicted and killed at random moments, with state on a volume: one job at a time, none left running."""

import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import get, kubectl
from tests.cluster.lab import Lab

SEED, PODS = 1, 9
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


def struck(lab: Lab, name: str, case: Case, wait: float, how: str) -> None:
    """Start a Job, and take its pod away after so many seconds."""
    lab.start(name, case, state=name)
    pod = lab.runs(name).name
    time.sleep(wait)
    strike(lab, pod, how)


@pytest.fixture(scope="module")
def cases(lab: Lab) -> dict[str, Case]:
    """The APIs of the Jobs, which have all ended. They let a second job start beside a first."""
    rng = random.Random(SEED)
    found = {f"cut-{number}": lab.judge.case(f"cut-{number}", seconds=4.0, second_jobs=True) for number in range(PODS)}
    for name in found:
        lab.claim(name)
    with ThreadPoolExecutor(PODS) as together:
        waits = [rng.uniform(0, 6) for _ in found]
        hows = [WAYS[number % 3] for number in range(PODS)]
        list(together.map(lambda *one: struck(lab, *one), found, found.values(), waits, hows))
    for name in found:
        lab.ended(name)
    return found


def test_no_job_runs_beside_another_and_none_is_left_running(cases: dict[str, Case]) -> None:
    none_twice(cases.values())


def test_every_job_completes_and_no_code_is_spent_twice(lab: Lab, cases: dict[str, Case]) -> None:
    assert {name: "Complete" in lab.conditions(name) for name in cases} == dict.fromkeys(cases, True)
    assert all(set(case.results()) == {"good"} for case in cases.values())
