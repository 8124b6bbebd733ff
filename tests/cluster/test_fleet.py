"""The fleet's Job on the cluster: one account's trouble stays its own, and a retry does only what failed."""

import copy
from collections import Counter

import pytest

from tests.cluster.judge import Case, none_twice
from tests.cluster.kube import HOST, apply, kubectl
from tests.cluster.lab import Lab, secret
from tests.support.manifests import Object, built
from tests.support.postgresql import PASSWORD, postgresql

NAMES = [f"account-{number:02d}" for number in range(12)]


def start(
    lab: Lab, name: str, case: Case, files: dict[str, dict[str, str] | None] | None = None, database: str = ""
) -> None:
    """The overlay's Job with twelve accounts, which share one volume or that database; `files` change the Secret of an account,
    None leaves it out."""
    changed, overlay = files or {}, "overlays/fleet-postgresql" if database else "overlays/fleet"
    (cron,) = [one for one in built(overlay) if one["kind"] == "CronJob"]
    spec: Object = copy.deepcopy(cron["spec"]["jobTemplate"]["spec"])
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    container["image"] = "sync-runner:dev"
    left_out = ("SYNC_RUNNER_METRICS__PUSHGATEWAY__URL", "SYNC_RUNNER_STATE__URL")
    container["env"] = [one for one in container["env"] if one["name"] not in left_out]
    there = "/run/secrets/sync-runner"
    settings = {
        "SYNC_RUNNER_BASE_URL": case.url, "SYNC_RUNNER_TLS__ALLOW_HTTP": "true", "SYNC_RUNNER_SYNCS": "activities,health",
        "SYNC_RUNNER_ACCOUNTS": str([{"name": one, "secrets_dir": f"{there}/{one}"} for one in NAMES]).replace("'", '"'),
    }  # fmt: skip
    if database:
        settings["SYNC_RUNNER_STATE__URL"] = database
    container["env"] += [{"name": key, "value": value} for key, value in settings.items()]
    volumes = {one["name"]: one for one in pod["volumes"]}
    volumes["config"]["configMap"]["name"] = "sync-runner"
    if not database:
        volumes["state"]["persistentVolumeClaim"]["claimName"] = lab.claim(f"state-{name}")
    source = volumes["credentials"]["projected"]["sources"][0]
    volumes["credentials"]["projected"]["sources"] = [
        {
            "secret": {
                **source["secret"],
                "name": f"{name}-{one}",
                "items": [{"key": item["key"], "path": f"{one}/{item['key']}"} for item in source["secret"]["items"]],
            }
        }
        for one in NAMES
    ]
    apply(
        *(
            secret(f"{name}-{one}", lab.space, username=one, **(changed.get(one) or {}))
            for one in NAMES
            if changed.get(one, {}) is not None
        )
    )
    lab.create(name, spec)


def done(case: Case) -> Counter[str]:
    """How many jobs of each account completed."""
    return Counter(job.user for job in case.jobs if job.look().status == "completed")


@pytest.fixture(scope="module")
def troubled(lab: Lab) -> Case:
    """A fleet with a Secret that is missing, and one with a wrong password; it has ended."""
    case = lab.judge.case("troubled")
    start(lab, "troubled", case, {NAMES[3]: {"password": "wrong"}, NAMES[7]: None})
    lab.ended("troubled", 300)
    return case


def test_a_missing_secret_and_a_wrong_password_stop_no_other_account(lab: Lab, troubled: Case) -> None:
    assert done(troubled).keys() == set(NAMES) - {NAMES[3], NAMES[7]}
    assert lab.conditions("troubled")["Failed"] == "FailedIndexes"
    none_twice([troubled])


def test_what_needs_a_person_is_not_tried_again_and_nothing_healthy_is_triggered_twice(
    lab: Lab, troubled: Case
) -> None:
    assert set(done(troubled).values()) == {2}
    assert troubled.results().count("password") == 1
    assert lab.status("troubled")["failed"] == len(lab.status("troubled")["failedIndexes"].split(","))


def test_a_shard_that_fails_is_tried_again_alone(lab: Lab) -> None:
    case = lab.judge.case("one-shard", fail="all", fail_times=1)
    start(lab, "one-shard", case)
    assert "Complete" in lab.ended("one-shard", 300)
    assert lab.status("one-shard")["failed"] == 1
    assert done(case).keys() == set(NAMES)
    assert {one: count for one, count in done(case).items() if count != 2}.keys() <= shard_of_failed(case)
    none_twice([case])


def test_the_pods_of_a_fleet_with_a_database_adopt_the_jobs_of_those_that_were_deleted(lab: Lab) -> None:
    case = lab.judge.case("database", seconds=25.0, second_jobs=True)
    with postgresql(HOST) as database:
        kept = {"name": "sync-runner-database", "namespace": lab.space}
        apply(
            lab.way("database", HOST, database.port),
            {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "stringData": {"password": PASSWORD}},
        )
        start(lab, "database", case, database=database.url)
        lab.works(case, len(NAMES))
        before = {pod.name for pod in lab.pods("database")}
        kubectl("-n", lab.space, "delete", "pod", *before, "--force", "--grace-period=0")
        assert "Complete" in lab.ended("database", 400)
        assert {pod.name for pod in lab.pods("database")}.isdisjoint(before)
        assert database.sql("SELECT count(DISTINCT account) FROM sync_runner_syncs") == str(len(NAMES))
    assert done(case) == dict.fromkeys(NAMES, 2)
    none_twice([case])
    assert set(case.results()) == {"good"}


def shard_of_failed(case: Case) -> set[str]:
    """The accounts that share a shard with the one whose job failed, by the contract's own words (docs/deploy/kubernetes.md)."""
    from hashlib import sha256

    def shard(name: str) -> int:
        return max(range(4), key=lambda number: sha256(f"{number}/{name}".encode()).digest())

    (failed,) = {job.user for job in case.jobs if job.status == "failed"}
    return {one for one in NAMES if shard(one) == shard(failed)}
