"""A node is lost, cut off, drained; the API server is away. Nothing else may use the cluster meanwhile.

SYNC_RUNNER_ROUNDS says how many nodes are lost and how many are cut off while a successor runs elsewhere, 1 of each without it.
"""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.judge import Case, Judge, none_twice
from tests.cluster.kube import HOST, apply, awaited, cluster, get, kubectl
from tests.cluster.lab import Lab
from tests.cluster.test_token_secret import NAME as SESSION
from tests.cluster.test_token_secret import POD, bring
from tests.support.manifests import ROOT, Object
from tests.support.postgresql import PASSWORD, postgresql

pytestmark = pytest.mark.alone
ROUNDS = int(os.environ.get("SYNC_RUNNER_ROUNDS", "1"))
ONE = {"env": {"SYNC_RUNNER_SYNCS": "activities"}}
SOON = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}
    for key in ("unreachable", "not-ready")
]
PAGE = (ROOT / "docs" / "deploy" / "kubernetes.md").read_text(encoding="utf-8")


@contextlib.contextmanager
def cordoned(node: str) -> Iterator[None]:
    """New pods go to the other node."""
    kubectl("cordon", node)
    try:
        yield
    finally:
        kubectl("uncordon", node)


def ready(node: str) -> bool:
    """Whether the control plane hears of the node."""
    found = {one["type"]: one["status"] for one in get("node", node)["status"]["conditions"]}
    return bool(found["Ready"] == "True")


def on_node_2(lab: Lab, name: str, case: Case, pod: Object | None = None, **changes: object) -> str:
    """A Job whose pod works on node 2; the pod's name."""
    with cordoned("node-1"):
        lab.start(name, case, pod={"tolerations": SOON, **(pod or {})}, **ONE, **changes)
        started = lab.runs(name, "node-2").name
    lab.works(case)
    return started


def test_a_lost_node_stops_the_schedule_until_its_job_is_deleted_and_the_next_run_starts_elsewhere(
    lab: Lab, judge: Judge
) -> None:
    """The lost pod runs on meanwhile."""
    case = judge.case("lost", seconds=75.0, second_jobs=True)
    lab.claim("lost")
    with cordoned("node-1"):
        lab.cron("lost", case, state="lost", pod={"tolerations": SOON}, activeDeadlineSeconds=45, **ONE)
        awaited("the first run", lambda: case.running(), 100)
    (job,) = {one["metadata"]["name"] for one in get("jobs", "-n", lab.space)["items"]}
    cluster("lose", "node-2")
    try:
        awaited("node 2 to be missed", lambda: not ready("node-2"))
        awaited("its pod to be given up", lambda: [pod.phase for pod in lab.pods(job)] == ["Terminating"])
        awaited("the Job's deadline", lambda: "FailureTarget" in lab.conditions(job))
        awaited("a skipped run", lambda: lab.events("JobAlreadyActive"))
        assert "Failed" not in lab.conditions(job)
        (command,) = re.findall(r"^\$ (kubectl .* delete job NAME)$", PAGE, re.MULTILINE)
        kubectl(*command.replace("-n sync-runner", f"-n {lab.space}").replace("NAME", job).split()[1:])
        (successor,) = awaited(
            "the next run",
            lambda: {one["metadata"]["name"] for one in get("jobs", "-n", lab.space)["items"]} - {job},
            100,
        )
        kubectl("-n", lab.space, "patch", "cronjob", "lost", "-p", '{"spec": {"suspend": true}}')
        assert lab.runs(successor).node == "node-1"
    finally:
        cluster("find", "node-2")
    awaited("node 2", lambda: ready("node-2"))


def test_a_node_that_is_cut_off_for_a_while_keeps_its_run(lab: Lab, judge: Judge) -> None:
    """Its tolerations are the usual ones, and the cut is shorter: the same pod, the same login, one job."""
    case = judge.case("cut", seconds=35.0, second_jobs=True)
    pod = on_node_2(lab, "cut", case, {"tolerations": []})
    cluster("cut", "node-2")
    time.sleep(25)
    cluster("join", "node-2")
    assert "Complete" in lab.ended("cut")
    assert [one.name for one in lab.pods("cut")] == [pod]
    assert case.results() == ["good"]
    assert case.ended() == [("activities", "completed")]


@pytest.fixture(scope="module")
def states(lab: Lab, judge: Judge) -> Iterator[dict[str, dict[str, Any]]]:
    """What a Job changes to keep its state in PostgreSQL, or on a volume with its session in a Secret."""
    lab.claim("holder")
    bring(lab)
    in_secret = {**ONE["env"], "SYNC_RUNNER_STATE__KUBERNETES_SECRET": SESSION}
    with postgresql(HOST) as database:
        apply(lab.way("database", HOST, database.port))
        in_database = {"SYNC_RUNNER_STATE__URL": database.url, "SYNC_RUNNER_STATE_PASSWORD": PASSWORD}
        yield {
            "postgresql": {"env": {**ONE["env"], **in_database}, "pod": {"tolerations": SOON}},
            "secret": {"env": in_secret, "state": "holder", "pod": {**POD, "tolerations": SOON}},
        }


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("away, back", [("lose", "find"), ("cut", "join")])
def test_a_holder_whose_node_is_gone_and_its_successor_start_no_job_beside_another(
    lab: Lab, judge: Judge, states: dict[str, dict[str, Any]], away: str, back: str, number: int
) -> None:
    """The holder's pod runs on, and its successor polls the same job: what the returning kubelet ends leaves it to that one."""
    names = {state: f"{away}-{number}-{state}" for state in states}
    cases = {state: judge.case(name, seconds=45.0, second_jobs=True) for state, name in names.items()}
    with cordoned("node-1"):
        for state, name in names.items():
            lab.start(name, cases[state], **states[state])
    for case in cases.values():
        lab.works(case)
    with cordoned("node-2"):
        cluster(away, "node-2")
        try:
            for state, name in names.items():
                lab.start(f"{name}-next", cases[state], **states[state])
                lab.runs(f"{name}-next", "node-1")
            time.sleep(15)  # longer than a lease
        finally:
            cluster(back, "node-2")
        for name in names.values():
            assert "Complete" in lab.ended(f"{name}-next")
            lab.ended(name)
    none_twice(cases.values())
    for case in cases.values():
        assert case.ended() == [("activities", "completed")], case.jobs
        assert case.results() == ["good"], case.logins
    awaited("node 2", lambda: ready("node-2"))


def test_a_drained_node_has_its_run_go_on_elsewhere(lab: Lab, judge: Judge) -> None:
    case = judge.case("drained", seconds=8.0)
    on_node_2(lab, "drained", case, state=lab.claim("drained"), backoffLimit=0)
    words = (
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--timeout=60s",
        "--pod-selector=batch.kubernetes.io/job-name=drained",
    )
    try:
        kubectl("drain", "node-2", *words)
        assert "Complete" in lab.ended("drained")
    finally:
        kubectl("uncordon", "node-2")
    assert [pod.node for pod in lab.pods("drained")] == ["node-1"]
    assert case.ended() == [("activities", "cancelled"), ("activities", "completed")]
    none_twice([case])


@contextlib.contextmanager
def api_server_stopped() -> Iterator[None]:
    """It takes connections and says nothing."""
    (found,) = [path for path in Path("/proc").glob("[0-9]*/comm") if path.read_text().strip() == "kube-apiserver"]
    pid = int(found.parent.name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_runs_wait_out_an_api_server_that_is_away(lab: Lab, judge: Judge, sessions: None) -> None:
    """With their sessions in a Secret: one that has to keep a new session, and one that does not need the API server at all."""
    kept = judge.case("away-secret", seconds=25.0, token_seconds=12)
    plain = judge.case("away-plain", seconds=25.0)
    lab.start(
        "away-secret",
        kept,
        pod={"automountServiceAccountToken": True},
        env={**ONE["env"], "SYNC_RUNNER_STATE__KUBERNETES_SECRET": "sync-runner-session"},
    )
    lab.start("away-plain", plain, **ONE)
    lab.works(kept)
    lab.works(plain)
    with api_server_stopped():
        time.sleep(20)
    for name, case in (("away-secret", kept), ("away-plain", plain)):
        assert "Complete" in lab.ended(name)
        assert case.ended() == [("activities", "completed")]


@pytest.fixture
def sessions(lab: Lab) -> None:
    """What the component token-secret brings."""
    bring(lab)
