"""The CronJob and its Jobs: one at a time, within their time, and nothing that waits in silence.

SYNC_RUNNER_ROUNDS says how often ten CronJobs are started at once, once without it.
"""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.judge import Case, Judge, none_twice
from tests.cluster.kube import HOST, apply, awaited, get, kubectl
from tests.cluster.lab import Lab, secret

ROUNDS, CRON_JOBS, LATE = int(os.environ.get("SYNC_RUNNER_ROUNDS", "1")), 10, 10.0


def jobs_of(lab: Lab, cron: str) -> list[str]:
    """The Jobs of a CronJob, oldest first."""
    found = get("jobs", "-n", lab.space)["items"]
    mine = [one for one in found if one["metadata"].get("ownerReferences", [{}])[0].get("name") == cron]
    return [one["metadata"]["name"] for one in sorted(mine, key=lambda one: str(one["status"].get("startTime", "")))]


def test_a_run_that_takes_longer_than_its_interval_has_no_other_beside_it(lab: Lab, judge: Judge) -> None:
    """And meanwhile: what the Job does when its time is up, and what a Job without a pod says."""
    case = judge.case("schedule", seconds=75.0, second_jobs=True)
    lab.cron("every-minute", case, state=lab.claim("every-minute"), env={"SYNC_RUNNER_SYNCS": "activities"})
    the_time_of_a_job_is_up(lab, judge)
    a_quota_that_the_pod_does_not_meet(lab, judge)
    awaited("the skipped run", lambda: lab.events("JobAlreadyActive"), 100)
    awaited("a run after the first", lambda: jobs_of(lab, "every-minute")[1:] and case.running(), 200)
    kubectl("-n", lab.space, "patch", "cronjob", "every-minute", "-p", '{"spec": {"suspend": true}}')
    *before, last = jobs_of(lab, "every-minute")
    for one in before:
        assert "Complete" in lab.ended(one)
        assert lab.status(one)["completionTime"] <= lab.status(last)["startTime"]
    assert len(case.jobs) == len(before) + 1
    assert case.results() == ["good"]  # each has the first one's session
    kubectl("-n", lab.space, "delete", "job", last)
    awaited("the cancelled job", lambda: not case.running())
    none_twice([case])


def the_time_of_a_job_is_up(lab: Lab, judge: Judge) -> None:
    """The runner cancels what runs; the Job deletes the pod with all that it said."""
    case = judge.case("time-is-up", seconds=600.0)
    lab.start("time-is-up", case, activeDeadlineSeconds=20, env={"SYNC_RUNNER_SYNCS": "activities"})
    lab.works(case)
    assert lab.ended("time-is-up")["Failed"] == "DeadlineExceeded"
    assert case.ended() == [("activities", "cancelled")]
    assert lab.pods("time-is-up") == []


def a_quota_that_the_pod_does_not_meet(lab: Lab, judge: Judge) -> None:
    """The Job makes no pod and says so; a LimitRange lets it go on by itself."""
    space = Lab(f"{lab.space}-quota", judge)
    space.remove(wait=True)
    space.prepare()
    meta = {"name": "cpu", "namespace": space.space}
    apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"limits.cpu": "2"}}})
    case = judge.case("quota")
    space.start("quota", case)
    (message, *_) = awaited("the event", lambda: space.events("FailedCreate"))
    assert "must specify limits.cpu" in message
    limits = [{"type": "Container", "default": {"cpu": "1"}}]
    apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": limits}})
    assert "Complete" in space.ended("quota")
    space.remove(wait=False)


def test_a_configuration_or_image_that_is_missing_shows_at_the_pod_and_the_run_goes_on_when_it_is_there(
    lab: Lab, judge: Judge
) -> None:
    case = judge.case("late")
    lab.start("no-config", case, state=lab.claim("no-config"), pod=None)
    spec = lab.spec(case)
    (config,) = [one for one in spec["template"]["spec"]["volumes"] if one["name"] == "config"]
    config["configMap"]["name"] = "not-there"
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "late", "namespace": lab.space}, "spec": spec}
    apply(job)
    messages = awaited("the event", lambda: lab.events("FailedMount"))
    assert any('configmap "not-there" not found' in one for one in messages)
    content = get("configmap", "sync-runner", "-n", lab.space)["data"]
    meta = {"name": "not-there", "namespace": lab.space}
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": content})
    assert "Complete" in lab.ended("late", 240)


def test_a_suspended_cron_job_starts_nothing_and_the_missed_run_starts_when_it_goes_on(lab: Lab, judge: Judge) -> None:
    case = judge.case("suspended")
    lab.cron("suspended", case, {"suspend": True}, env={"SYNC_RUNNER_SYNCS": "activities"})
    made = time.time()
    time.sleep(61 - time.time() % 60)
    assert jobs_of(lab, "suspended") == []
    kubectl("-n", lab.space, "patch", "cronjob", "suspended", "-p", '{"spec": {"suspend": false}}')
    (job, *_) = awaited("the missed run", lambda: jobs_of(lab, "suspended"), 20)
    kubectl("-n", lab.space, "patch", "cronjob", "suspended", "-p", '{"spec": {"suspend": true}}')
    assert "Complete" in lab.ended(job)
    assert time.time() > made


@pytest.fixture
def cut_off(lab: Lab, judge: Judge) -> Iterator[Lab]:
    """A namespace whose pods do not reach the judge until a Job's policy lets its pod out."""
    space = Lab(f"{lab.space}-late", judge)
    space.remove(wait=True)
    space.prepare()
    kubectl("-n", space.space, "delete", "networkpolicy", "judge")
    yield space
    space.remove(wait=False)


def let_out(space: Lab, job: str, seconds: float) -> None:
    """The pod of a Job has a network so many seconds after it runs."""
    space.runs(job)
    time.sleep(seconds)
    policy = space.way(job, HOST, 443, 449)
    policy["spec"]["podSelector"] = {"matchLabels": {"batch.kubernetes.io/job-name": job}}
    apply(policy)


def test_ten_cron_jobs_at_once_whose_pods_have_a_late_network_all_end_with_0(cut_off: Lab, judge: Judge) -> None:
    rng = random.Random(1)
    cases: dict[str, Case] = {}
    for number in range(CRON_JOBS):
        name = f"late-{number}"
        cases[name] = judge.case(name, second_jobs=True)
        apply(secret(name, cut_off.space, username=name))
        cut_off.cron(name, cases[name], {"suspend": True}, credentials=name, state=cut_off.claim(name))
    for number in range(ROUNDS):
        jobs = {f"{name}-{number}": rng.uniform(0, LATE) for name in cases}
        for job in jobs:
            cron = job.rpartition("-")[0]
            kubectl("-n", cut_off.space, "create", "job", job, f"--from=cronjob/{cron}")
        with ThreadPoolExecutor(CRON_JOBS) as together:
            list(together.map(lambda job, late: let_out(cut_off, job, late), jobs, jobs.values()))
        for job in jobs:
            assert "Complete" in cut_off.ended(job)
            assert [pod.code for pod in cut_off.pods(job)] == [0]
            assert "failed" not in cut_off.status(job)
            kubectl("-n", cut_off.space, "delete", "networkpolicy", job)
    none_twice(cases.values())
    for case in cases.values():
        assert len(case.ended()) == 2 * ROUNDS
        assert set(case.results()) == {"good"}
