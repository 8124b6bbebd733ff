"""Every exit code through the Job controller: what the Job did, and what stands at the pod."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import apply, awaited, in_new_step, kubectl
from tests.cluster.lab import Lab, secret


@dataclass(frozen=True)
class Row:
    """How a case is made, and what must become of its Job: the codes of its tries, and its condition with the reason."""

    codes: list[int]
    condition: tuple[str, str]
    api: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    said: str = ""


COMPLETE, NO_RETRY, TRIED = (
    ("Complete", "CompletionsReached"),
    ("Failed", "PodFailurePolicy"),
    ("Failed", "BackoffLimitExceeded"),
)
ROWS = {
    "0": Row([0], COMPLETE, said="code 0: every sync completed; 2 of 2"),
    "1": Row([1, 1, 1], TRIED, job={"hide": "/opt/sync-runner/lib/python3.13/site-packages/runner/jobs"}),
    "2": Row([2], NO_RETRY, job={"env": {"SYNC_RUNNER_BSE_URL": "x"}}, said="SYNC_RUNNER_BSE_URL"),
    "3-password": Row([3], NO_RETRY, job={"credentials": "wrong-password"}, said="password"),
    "3-no-seed": Row([3], NO_RETRY, job={"credentials": "no-seed"}, said="totp_seed"),
    "3-no-secret": Row([3], NO_RETRY, job={"credentials": "not-there"}, said="username"),
    "4": Row([4, 4, 4], TRIED, {"fail": "all"}, said="the source is not available"),
    "4-once": Row([4, 0], COMPLETE, {"fail": "all", "fail_times": 2}),
    "5": Row([5, 5, 5], TRIED, {"fail": "health"}, said="1 of 2 syncs completed"),
    "5-once": Row([5, 0], COMPLETE, {"fail": "health", "fail_times": 1}),
    "6": Row(
        [6, 6, 6], TRIED, {"seconds": 600.0}, {"env": {"SYNC_RUNNER_DEADLINE__SYNC": "4s"}, "state": "6"}, said="code 6"
    ),
    "7": Row([7, 7, 7], TRIED, {"down": True}, said="503"),
    "8": Row([8], NO_RETRY, {"lose_triggers": True}, said="code 8"),
    "9": Row([9], NO_RETRY, {"strange_status": True}, said="perhaps"),
    "137": Row([137, 137, 137], TRIED, job={"container": {"resources": {"limits": {"memory": "24Mi"}}}}),
}
# Their state is in an emptyDir, which each try begins anew. Started with a time step, the second try finds its first code used.
FORGETFUL = {"4", "4-once", "5", "5-once"}


def signal(number: int) -> Callable[[Lab, str], object]:
    """Sends a signal to the runner from within its container."""
    return lambda lab, pod: kubectl(
        "-n", lab.space, "exec", pod, "--", "python", "-c", f"import os; os.kill(1, {number})"
    )


def delete(*words: str) -> Callable[[Lab, str], object]:
    """Deletes the pod."""
    return lambda lab, pod: kubectl("-n", lab.space, "delete", "pod", pod, "--wait=false", *words)


def evict(lab: Lab, pod: str) -> object:
    """As a drain does it."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{lab.space}/pods/{pod}/eviction"
    return kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction))


# How a try is interrupted, the codes that are left to see, and how many tries count.
INTERRUPTED: dict[str, tuple[Callable[[Lab, str], object], list[int], int]] = {
    "130": (signal(2), [130, 0], 1),
    "143": (signal(15), [143, 0], 1),
    "deleted": (delete(), [0], 1),  # the pod goes, and its code with it
    "force-deleted": (delete("--force", "--grace-period=0"), [0], 1),
    "evicted": (evict, [0], 0),
}


@dataclass
class Begun:
    """The Jobs of all rows and of all interruptions, started at once, and the APIs that they talk to."""

    lab: Lab
    cases: dict[str, Case]


@pytest.fixture(scope="module")
def begun(lab: Lab) -> Begun:
    """Every Job. The rows whose retry may send a used code begin with a time step, and so fall into one."""
    apply(
        secret("wrong-password", lab.space, password="wrong horse battery"),
        secret("no-seed", lab.space, totp_seed=None),
    )
    cases = {name: lab.judge.case(f"exit-{name}", **row.api) for name, row in ROWS.items()}
    cases |= {name: lab.judge.case(f"exit-{name}", seconds=15.0) for name in INTERRUPTED}
    for name in ("6", *INTERRUPTED):
        lab.claim(name)
    in_new_step()
    for name in sorted(ROWS, key=lambda name: name not in FORGETFUL):
        lab.start(f"exit-{name}", cases[name], **ROWS[name].job)
    with ThreadPoolExecutor(len(INTERRUPTED)) as together:
        list(together.map(lambda name: interrupt(lab, name, cases[name]), INTERRUPTED))
    return Begun(lab, cases)


def interrupt(lab: Lab, name: str, case: Case) -> None:
    """Start a Job, and strike its pod while its job runs at the API."""
    lab.start(f"exit-{name}", case, state=name, env={"SYNC_RUNNER_SYNCS": "activities"})
    pod = lab.runs(f"exit-{name}").name
    lab.works(case)
    INTERRUPTED[name][0](lab, pod)


@pytest.mark.parametrize("name", ROWS)
def test_the_job_does_what_the_exit_code_says(begun: Begun, name: str) -> None:
    row, lab = ROWS[name], begun.lab
    found = lab.ended(f"exit-{name}")
    pods = lab.pods(f"exit-{name}")
    assert [pod.code for pod in pods] == row.codes, [pod.message for pod in pods]
    assert row.condition in found.items()
    assert row.said in pods[-1].message
    none_twice([begun.cases[name]])


def test_a_pod_that_is_out_of_memory_leaves_its_reason_and_no_message(begun: Begun) -> None:
    begun.lab.ended("exit-137")
    assert {(pod.reason, pod.message) for pod in begun.lab.pods("exit-137")} == {("OOMKilled", "")}


def test_a_wrong_login_is_sent_once_and_a_missing_secret_never(begun: Begun) -> None:
    for name, results in (("3-password", ["password"]), ("3-no-seed", []), ("3-no-secret", [])):
        begun.lab.ended(f"exit-{name}")
        assert begun.cases[name].results() == results


def test_a_job_that_fails_for_good_says_so_in_an_event(begun: Begun) -> None:
    begun.lab.ended("exit-2")
    told = awaited("the event", lambda: [one for one in begun.lab.events("PodFailurePolicy") if "exit-2-" in one])
    assert "failed with exit code 2 matching FailJob rule at index 1" in told[0]


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_try_cancels_its_job_and_is_followed_by_another(begun: Begun, name: str) -> None:
    """It counts, unless the pod was evicted."""
    _, codes, counted = INTERRUPTED[name]
    assert begun.lab.ended(f"exit-{name}") == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert [pod.code for pod in begun.lab.pods(f"exit-{name}")] == codes
    assert begun.lab.status(f"exit-{name}").get("failed", 0) == counted
    assert begun.cases[name].ended() == [("activities", "cancelled"), ("activities", "completed")]
    none_twice([begun.cases[name]])
