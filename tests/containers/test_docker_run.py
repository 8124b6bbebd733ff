"""The runner as `docker run` starts it: users, mounts, exit codes, signals, shared state."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.auth.totp import code, parse_seed, step_at
from tests.containers.engine import (
    HARDENED,
    RUNNER,
    Place,
    awaited,
    docker,
    json_lines,
    kubernetes_layout,
    last_successes,
    new_credentials,
    place,
    write_secrets,
)

TYPES = ("activities", "health", "workouts")
STATE = "/var/lib/sync-runner"


@pytest.mark.parametrize("user", ["65532:0", "1234567:7654321", "1000680000:0"])
def test_it_runs_as_any_user_without_rights_and_without_a_place_to_write(here: Place, user: str) -> None:
    ended = here.run("run", *TYPES, "--report", "-", options=["--user", user])
    assert ended.code == 0, ended.told
    report = json.loads(ended.out)
    assert [sync["outcome"] for sync in report["syncs"]] == ["completed"] * 3


def test_the_second_run_on_the_same_volume_needs_no_login(here: Place, volume: str) -> None:
    options = ["--user", "1234567:7654321", "--volume", f"{volume}:{STATE}"]
    first, second = (here.run("run", "health", options=options) for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert first.events("session.started")
    assert second.events("session.reused") and not second.events("session.started")


def test_two_containers_on_one_volume_use_no_code_twice(here: Place, volume: str) -> None:
    options = ["--volume", f"{volume}:{STATE}"]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(here.run, "run", kind, options=options) for kind in ("activities", "health")]
        ended = [run.result() for run in runs]
    assert [one.code for one in ended] == [0, 0], [one.told for one in ended]
    assert not [line for one in ended for line in one.events("session.failed")]


def test_a_code_is_handed_by_docker_exec_to_a_run_that_waits(here: Place, volume: str) -> None:
    name = f"sync-runner-test-{uuid.uuid4().hex[:8]}"
    person = ["--env", "SYNC_RUNNER_CODE__SOURCE=person", "--volume", f"{volume}:{STATE}"]
    slowly = ["run", "health", "--set", "poll.min=5s"]  # the container outlives the command that is run in it
    docker("run", "--detach", "--name", name, *HARDENED, *here.options(), *person, RUNNER, *slowly)
    seed = parse_seed(here.credentials["totp_seed"])

    def handed_over() -> bool:
        number = code(seed, step_at(seed, time.time()))
        return docker("exec", name, "sync-runner", "submit-code", number, check=False).returncode == 0

    try:
        awaited("a run that waits", lambda: "login.code_wanted" in docker("logs", name).stderr)
        awaited("a code that is taken", handed_over)
        assert docker("wait", name).stdout.strip() == "0", docker("logs", name).stderr
        lines = json_lines(docker("logs", name).stderr)
    finally:
        docker("rm", "--force", "--volumes", name)
    assert [line["mfa"] for line in lines if line["event"] == "session.started"] == [True]
    again = here.run("run", "health", options=person)
    assert again.code == 0 and again.events("session.reused")


def test_secrets_are_read_through_the_links_of_a_kubernetes_volume(here: Place, tmp_path: Path) -> None:
    mounted = kubernetes_layout(tmp_path / "mount", here.credentials)
    assert here.run("run", "health", secrets_dir=mounted).code == 0


@pytest.mark.usefixtures("images")
def test_secrets_that_are_rotated_in_mid_run_are_read_again(tmp_path: Path) -> None:
    """Password and link change, as the kubelet does it, while a job runs; then the session ends and cannot be renewed."""
    name = f"sync-runner-test-{uuid.uuid4().hex[:8]}"
    faults = ["--fault", "kind=status,endpoint=refresh,status=401,times=-1"]
    with place(tmp_path / "place", "--mfa", "none", "--job-seconds", "4", *faults) as there:
        mounted = kubernetes_layout(tmp_path / "mount", there.credentials)
        docker("run", "--detach", "--name", name, *HARDENED, *there.options(mounted), RUNNER, "run", *TYPES)
        try:
            awaited("the trigger", lambda: "sync.triggered" in docker("logs", name).stderr)
            fresh = there.credentials | {"password": new_credentials()["password"]}
            there.admin("users", fresh | {"mfa": "none"})
            kubernetes_layout(mounted, fresh)
            there.admin("expire")
            assert docker("wait", name).stdout.strip() == "0", docker("logs", name).stderr
            events = [line["event"] for line in json_lines(docker("logs", name).stderr)]
        finally:
            docker("rm", "--force", "--volumes", name)
    assert events.count("login.secrets_rotated") == 1
    assert events.count("session.started") == 2


def test_credentials_from_an_environment_file_work_with_a_warning_each(here: Place, tmp_path: Path) -> None:
    lines = [f"SYNC_RUNNER_{name.upper()}={value}" for name, value in here.credentials.items()]
    (tmp_path / "env").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "empty").mkdir()
    ended = here.run("run", "health", options=["--env-file", str(tmp_path / "env")], secrets_dir=tmp_path / "empty")
    assert ended.code == 0, ended.told
    assert [line["secret"] for line in ended.events("secret.warning")] == ["username", "password", "totp_seed"]


FAULTS: list[tuple[int, list[str], list[str]]] = [
    (4, ["--fault", "kind=job_fails,times=-1"], []),
    (5, ["--fault", "kind=job_fails,sync_type=health,times=-1"], []),
    (6, ["--job-seconds", "300"], ["--set", "deadline.run=4s"]),
    (7, ["--fault", "kind=status,endpoint=trigger,status=503,times=-1"], ["--set", "retry.attempts=2"]),
    (
        8,
        [
            *("--fault", "kind=reset_after,endpoint=trigger,times=-1"),
            *("--fault", "kind=status,endpoint=status,status=418,times=-1"),
        ],
        ["--set", "retry.attempts=2"],
    ),
    (9, ["--fault", "kind=status,endpoint=trigger,status=418,times=-1"], []),
]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("code", "sandbox", "runner"), FAULTS, ids=[f"code {fault[0]}" for fault in FAULTS])
def test_what_goes_wrong_at_the_api_shows_in_the_exit_code(
    code: int, sandbox: list[str], runner: list[str], tmp_path: Path
) -> None:
    with place(tmp_path, *sandbox) as there:
        ended = there.run("run", *TYPES, *runner)
    assert ended.code == code, ended.told
    assert ended.events("run.ended")[0]["exit_code"] == code
    assert ended.told


def test_an_api_that_is_not_there_is_code_7(here: Place) -> None:
    options = ["--env", "SYNC_RUNNER_BASE_URL=http://sandbox:1"]
    ended = here.run("run", "health", "--set", "retry.attempts=2", options=options)
    assert ended.code == 7
    assert "sandbox" in ended.told or "connect" in ended.told.lower()


def test_a_defect_is_code_1_in_one_line(here: Place, tmp_path: Path) -> None:
    """A package of the runner is hidden below an empty directory, as if the image had been built wrongly."""
    (tmp_path / "empty").mkdir(mode=0o755)
    hidden = "/opt/sync-runner/lib/python3.13/site-packages/runner/jobs"
    ended = here.run("run", "health", options=["--volume", f"{tmp_path / 'empty'}:{hidden}:ro"])
    assert ended.code == 1
    assert "this is a defect of sync-runner" in ended.told


def test_nothing_to_run_is_code_2_and_says_what_to_do(here: Place) -> None:
    ended = here.run()
    assert ended.code == 2
    assert "SYNC_RUNNER_SYNCS" in ended.told


def test_a_missing_secret_is_code_3_and_names_the_file(here: Place, tmp_path: Path) -> None:
    write_secrets(tmp_path / "some", {"username": "demo"})
    ended = here.run("run", "health", secrets_dir=tmp_path / "some")
    assert ended.code == 3
    assert "/run/secrets/password" in ended.told


def test_a_wrong_seed_is_code_3_and_names_the_secret(here: Place, tmp_path: Path) -> None:
    wrong = here.credentials | {"totp_seed": new_credentials()["totp_seed"]}
    ended = here.run("run", *TYPES, secrets_dir=write_secrets(tmp_path / "wrong", wrong))
    assert ended.code == 3
    assert "totp_seed" in ended.told


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("INT", 130)])
def test_a_signal_to_the_first_process_cancels_the_job_and_shows_in_the_exit_code(
    signal: str, code: int, tmp_path: Path, volume: str
) -> None:
    name = f"sync-runner-test-{uuid.uuid4().hex[:8]}"
    state = ["--volume", f"{volume}:{STATE}"]
    with place(tmp_path, "--job-seconds", "600") as there:
        docker("run", "--detach", "--name", name, *HARDENED, *there.options(), *state, RUNNER, "run", "health")
        try:
            awaited("the trigger", lambda: "sync.triggered" in docker("logs", name).stderr)
            docker("kill", "--signal", signal, name)
            assert docker("wait", name).stdout.strip() == str(code)
            lines = json_lines(docker("logs", name).stderr)
        finally:
            docker("rm", "--force", "--volumes", name)
        (job,) = json.loads(there.run("status", "--json", options=state).out)["accounts"][0]["sync_jobs"]
    assert [line["event"] for line in lines][-1] == "run.ended"
    assert job["status"] == "cancelled"


def test_a_signal_while_it_is_still_starting_ends_it_too(images: None) -> None:
    """The kernel keeps signals from a first process that has not asked for them; it asks before its imports."""
    slow = "import sys, time; sys.argv = ['sync-runner', '--version']; import runner.cli as cli; "
    slow += "from runner.engine import signals; "
    slow += "wait = lambda: all(time.sleep(0.1) is None for _ in iter(lambda: signals.noted() is None, False)); "
    slow += "cli.run = lambda words: print('up', flush=True) or wait() and 143; import runner.__main__ as m; m.main()"
    name = docker("run", "--detach", "--entrypoint", "python", RUNNER, "-c", slow).stdout.strip()
    try:
        awaited("the process", lambda: "up" in docker("logs", name).stdout)
        docker("kill", "--signal", "TERM", name)
        assert docker("wait", name).stdout.strip() == "143"
    finally:
        docker("rm", "--force", "--volumes", name)


def test_metrics_reach_a_pushgateway_and_a_failed_run_keeps_the_last_success(
    here: Place, pushgateway: str, tmp_path: Path
) -> None:
    push = ["--set", f"metrics.pushgateway.url={pushgateway}"]
    assert here.run("run", *TYPES, *push).code == 0
    before = last_successes(here, pushgateway)
    assert sorted(before) == sorted(TYPES)
    wrong = here.credentials | {"totp_seed": new_credentials()["totp_seed"]}
    failed = here.run("run", *TYPES, *push, secrets_dir=write_secrets(tmp_path / "wrong", wrong))
    assert failed.code == 3
    assert last_successes(here, pushgateway) == before
    assert "sync_runner_last_run_exit_code" in (text := here.fetch(f"{pushgateway}/metrics"))
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("sync_runner_last_run_exit_code{")] == [
        "3"
    ]
