"""The pods of the CronJobs complete as `docker run` starts them, and leave what Kubernetes looks for."""

import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.containers.engine import (
    RUNNER,
    Ended,
    Place,
    docker,
    json_lines,
    last_successes,
    new_credentials,
    place,
    pushgateway_in,
    write_secrets,
)
from tests.containers.pod import KUBECTL, Object, as_docker_options, decoded, objects_of, pod_of

pytestmark = [
    pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl comes from a wheel, and there is one for Linux only"),
    pytest.mark.usefixtures("images"),
]


def test_the_pod_of_the_cron_job_completes_and_leaves_its_termination_message(tmp_path: Path) -> None:
    objects = objects_of("dev")
    pod = pod_of(objects)
    (secret,) = [one for one in objects if one["kind"] == "Secret"]
    message = tmp_path / "termination-log"
    message.touch()
    message.chmod(0o666)  # as the kubelet makes it
    with place(tmp_path / "place", credentials=decoded(secret)) as there, pushgateway_in(there) as gateway:
        done = docker(
            *("run", "--rm", "--network", there.network, *as_docker_options(pod, objects, tmp_path)),
            *("--volume", f"{message}:{pod['containers'][0]['terminationMessagePath']}"),
            *(RUNNER, *pod["containers"][0]["args"]),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(last_successes(there, gateway)) == ["activities", "health", "workouts"]
    assert [line["level"] for line in json_lines(done.stderr) if line["level"] != "info"] == []
    assert message.read_text(encoding="utf-8").startswith("code 0: every sync completed; 3 of 3")
    assert json.dumps(decoded(secret)["password"])[1:-1] not in done.stdout + done.stderr


def test_the_pods_of_the_fleet_complete_and_run_each_account_once(tmp_path: Path) -> None:
    """All four shards; a second time from the state that each has kept, so that nobody logs in again."""
    known = {name: {**new_credentials(), "username": f"{name}@example.org"} for name in ("anton", "berta")}
    for name, credentials in known.items():
        write_secrets(tmp_path / "users" / name, credentials)
    secrets = [secret(f"sync-runner-{name}", credentials) for name, credentials in known.items()]
    objects = [*objects_of("fleet"), *secrets]
    pod, shards = pod_of(objects), range(4)
    options = [as_docker_options(pod, objects, tmp_path, JOB_COMPLETION_INDEX=str(shard)) for shard in shards]
    users = ["--users-dir=/run/users"]
    with (
        place(tmp_path / "place", *users, mounts={tmp_path / "users": "/run/users"}) as there,
        pushgateway_in(there) as gateway,
    ):
        with ThreadPoolExecutor(len(shards)) as together:
            first, second = (
                list(together.map(lambda words: pod_as_container(pod, words, there), options)) for _ in range(2)
            )
        groups = there.fetch(f"{gateway}/metrics")
    assert [one.code for one in (*first, *second)] == [0] * 8
    for ended in (first, second):
        completed = Counter(line["account"] for one in ended for line in one.events("sync.ended"))
        assert completed == {"anton": 3, "berta": 3}
    assert sum(len(one.events("session.started")) for one in first) == 2
    assert sum(len(one.events("session.started")) for one in second) == 0
    assert all(f'sync_runner_last_run_exit_code{{instance="shard-{shard}"' in groups for shard in shards)


def pod_as_container(pod: Object, options: list[str], there: Place) -> Ended:
    """The pod to its end, with the sandbox as its API."""
    to_sandbox = ["SYNC_RUNNER_BASE_URL=http://sandbox:8001", "SYNC_RUNNER_TLS__ALLOW_HTTP=true"]
    variables = [word for one in to_sandbox for word in ("--env", one)]
    arguments = pod["containers"][0]["args"]
    done = docker("run", "--rm", "--network", there.network, *options, *variables, RUNNER, *arguments, check=False)
    return Ended(done.returncode, done.stdout, json_lines(done.stderr))


def secret(name: str, values: dict[str, str]) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": data}
