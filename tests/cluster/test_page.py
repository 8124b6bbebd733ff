"""docs/deploy/kubernetes.md, command by command."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.judge import PASSWORD, USER, Judge, none_twice, seed_of
from tests.cluster.kube import HOST, apply, kubectl
from tests.cluster.lab import VOLUMES, Lab, give, volume
from tests.support.manifests import K8S, ROOT, Object

PAGE = (ROOT / "docs" / "deploy" / "kubernetes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```console\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line.strip().removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]
LINE = '{range .items[*]}{.status.containerStatuses[0].state.terminated.message}{"\\n"}{end}'


def commands(*wanted: str) -> list[str]:
    """The page's commands that contain one of these, in the page's order, each at its first place."""
    found = list(dict.fromkeys(line for line in COMMANDS if any(word in line for word in wanted)))
    assert len(found) >= len(wanted)
    return found


def shell(command: str, directory: Path) -> str:
    """A command's output."""
    command = command.replace("--timeout=15m", "--timeout=4m")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a copy of k8s/, to be changed as the page says, and the files of an account."""
    shutil.copytree(K8S, tmp_path / "k8s")
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    write_account(tmp_path)
    return tmp_path


def write_account(directory: Path, username: str = USER) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in {"username": username, "password": PASSWORD, "totp_seed": seed_of(username)}.items():
        (directory / name).write_text(f"{value}\n", encoding="utf-8")


@pytest.fixture
def space(request: pytest.FixtureRequest, judge: Judge) -> Iterator[Lab]:
    """The page's namespace, not there before and not afterwards."""
    lab = Lab(request.param, judge)
    lab.remove(wait=True)
    yield lab
    lab.remove(wait=True)


def lead_to_the_judge(overlay: Path, url: str, **more: object) -> None:
    """As a user edits a copy: the address, the way to it, and no storage class but the volumes that are there."""
    settings = yaml.safe_load((overlay / "runner.yaml").read_text(encoding="utf-8"))
    settings |= {"base_url": url, "tls": {"allow_http": True}, **more}
    settings["syncs"] = ["activities", "health"]
    settings["metrics"] = {
        "pushgateway": {"timeout": "20s"}
    }  # a node may learn where a new pod stands after it is ready
    (overlay / "runner.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    about: Object = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    rule = {"to": [{"ipBlock": {"cidr": f"{HOST}/32"}}], "ports": [{"protocol": "TCP", "port": 443, "endPort": 449}]}
    patch = yaml.safe_dump([{"op": "add", "path": "/spec/egress/-", "value": rule}])
    about["patches"].append({"target": {"kind": "NetworkPolicy", "name": "sync-runner"}, "patch": patch})
    no_class = yaml.safe_dump([{"op": "add", "path": "/spec/storageClassName", "value": ""}])
    about["patches"].append({"target": {"kind": "PersistentVolumeClaim"}, "patch": no_class})
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")


def volumes_for(space: str, *names: str) -> None:
    """Volumes for the claims of an overlay."""
    for name in names:
        apply(volume(name, space, 65534 if name == "pushgateway" else 65532)[0])


@pytest.mark.parametrize("space", ["sync-runner-dev"], indirect=True)
def test_the_first_run_in_dev_is_green(space: Lab, place: Path) -> None:
    written = [shell(command, place) for command in commands("sync-runner-dev", "overlays/dev")]
    assert written[-1].count('"result": "completed"') == 3
    assert '"exit_code": 0' in written[-1]


@pytest.mark.parametrize("space", ["sync-runner"], indirect=True)
def test_production_is_green_and_says_how_it_ended(space: Lab, place: Path) -> None:
    case = space.judge.case("page-production")
    lead_to_the_judge(place / "k8s" / "overlays" / "production", case.url)
    volumes_for(space.space, "sync-runner-state", "pushgateway")
    wanted = [
        one
        for one in commands(
            "overlays/production", "sync-runner create", "sync-runner wait", "sync-runner get pods", "logs -l"
        )
        if "helm" not in one
    ]
    written = [shell(command, place) for command in wanted]
    assert written[-2].startswith("code 0: every sync completed; 2 of 2")
    assert '"exit_code": 0' in written[-1]
    assert case.ended() == [("activities", "completed"), ("health", "completed")]
    none_twice([case])
    (diff,) = re.findall(r"`(kubectl diff .*?)`", PAGE)
    assert shell(diff, place) == ""
    push_outlives_its_pod(space)
    check_logs_in_and_triggers_nothing(space, place, len(case.jobs))


def push_outlives_its_pod(lab: Lab) -> None:
    """The last success is still there after the Pushgateway's pod was replaced."""
    code = "import time, urllib.request as r; time.sleep(3); print(r.urlopen('http://pushgateway:9091/metrics').read().decode())"
    available = ("-n", lab.space, "rollout", "status", "--timeout=240s", "deployment/pushgateway")
    kubectl(*available)
    before = successes(lab.python("before", code))
    kubectl("-n", lab.space, "delete", "pod", "-l", "app.kubernetes.io/name=pushgateway", "--wait")
    kubectl(*available)
    assert successes(lab.python("after", code)) == before
    assert len(before) == 2


def successes(text: str) -> list[str]:
    """The series of the last successes."""
    return sorted(line for line in text.splitlines() if line.startswith("sync_runner_last_success_timestamp_seconds{"))


def check_logs_in_and_triggers_nothing(lab: Lab, place: Path, jobs: int) -> None:
    """`check` instead of `run`, in a pod as OpenShift has it: the page's patch takes the users out, OpenShift puts its own in."""
    overlay = place / "k8s" / "overlays" / "production"
    about: Object = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    (patches,) = [
        yaml.safe_load(text) for text in re.findall(r"^```yaml\n(patches:.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ]
    about["patches"] += patches["patches"]
    pod = "/spec/jobTemplate/spec/template/spec"
    args = yaml.safe_dump(
        [
            {"op": "replace", "path": f"{pod}/containers/0/args/0", "value": "check"},
            *(
                {"op": "add", "path": f"{pod}/securityContext/{key}", "value": 1000680000}
                for key in ("runAsUser", "fsGroup")
            ),
        ]
    )
    give(VOLUMES / lab.space / "sync-runner-state", 1000680000, 1000680000)
    about["patches"].append({"target": {"kind": "CronJob"}, "patch": args})
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    shell("kubectl apply --server-side -k k8s/overlays/production", place)
    shell("kubectl -n sync-runner rollout status --timeout=4m deployment/pushgateway", place)  # `check` looks at it too
    shell("kubectl -n sync-runner create job --from=cronjob/sync-runner checked", place)
    assert "Complete" in lab.ended("checked")
    assert len(lab.judge.cases["page-production"].jobs) == jobs


@pytest.mark.parametrize("space", ["sync-runner-fleet"], indirect=True)
def test_the_fleet_is_green_and_runs_each_account_once(space: Lab, place: Path) -> None:
    case = space.judge.case("page-fleet")
    names = [f"account-{number:02d}" for number in range(9)]
    for name in names:
        write_account(place / "accounts" / name, name)
    overlay = place / "k8s" / "overlays" / "fleet"
    shell("kubectl apply --server-side -f k8s/overlays/fleet/namespace.yaml", place)
    (script,) = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    shell(script, place)
    volumes_for(space.space, "sync-runner-state", "pushgateway")
    lead_to_the_judge(overlay, case.url, accounts=yaml.safe_load((place / "accounts.yaml").read_text(encoding="utf-8")))
    patch: list[Object] = yaml.safe_load((overlay / "accounts.yaml").read_text(encoding="utf-8"))
    patch[1]["value"]["projected"]["sources"] = yaml.safe_load((place / "sources.yaml").read_text(encoding="utf-8"))
    (overlay / "accounts.yaml").write_text(yaml.safe_dump(patch), encoding="utf-8")
    shell("kubectl apply --server-side -k k8s/overlays/fleet", place)
    shell(f"kubectl -n {space.space} create job --from=cronjob/sync-runner first", place)
    assert "Complete" in space.ended("first", 700)
    assert sorted((job.user, job.type) for job in case.jobs) == [
        (name, kind) for name in names for kind in ("activities", "health")
    ]
    assert sorted(login.user for login in case.logins) == names
    none_twice([case])


@pytest.mark.parametrize("space", ["sync-runner"], indirect=True)
def test_the_chart_is_installed_tested_and_upgraded_and_keeps_its_session(space: Lab, place: Path) -> None:
    """With sessions in a Secret, which an upgrade must leave as the runner wrote it."""
    case = space.judge.case("page-helm")
    values = {
        "image": {"repository": "sync-runner", "tag": "dev"},
        "config": {"tls": {"allow_http": True}, "syncs": ["activities", "health"]},
        "state": {"tokenSecret": {"enabled": True}},
        "networkPolicy": {
            "extraEgress": [{"to": [{"ipBlock": {"cidr": f"{HOST}/32"}}], "ports": [{"port": 443, "endPort": 449}]}]
        },
    }
    (place / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    labels = ("pod-security.kubernetes.io/enforce=restricted",)
    kubectl("create", "namespace", space.space)
    kubectl("label", "namespace", space.space, *labels)
    os.environ["PATH"] = f"{ROOT / 'build'}{os.pathsep}{os.environ['PATH']}"
    (secret,) = commands("create secret")
    install, test, upgrade = (one for one in COMMANDS if one.startswith("helm"))
    shell(install.replace("https://sync.example.org", case.url) + " --values values.yaml", place)
    shell(secret, place)
    assert "Phase:          Succeeded" in shell(test, place)
    assert case.jobs == []
    assert case.results() == ["good"]
    before = kubectl("-n", space.space, "get", "secret", "sync-runner-session", "-o", "jsonpath={.data}").stdout
    assert len(before) > 100
    shell(upgrade, place)
    assert kubectl("-n", space.space, "get", "secret", "sync-runner-session", "-o", "jsonpath={.data}").stdout == before
    assert (
        kubectl("-n", space.space, "get", "cronjob", "sync-runner", "-o", "jsonpath={.spec.schedule}").stdout
        == "47 * * * *"
    )
    shell(f"kubectl -n {space.space} create job --from=cronjob/sync-runner first", place)
    assert "Complete" in space.ended("first")
    assert case.results() == ["good"]  # the session of the check
    assert case.ended() == [("activities", "completed"), ("health", "completed")]
    shell(f"helm -n {space.space} uninstall sync-runner", place)


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    """Those with NAME in them stand in tests/cluster/test_nodes.py."""
    helm = [one for one in COMMANDS if one.startswith("helm")]
    rest = [one for one in COMMANDS if not one.startswith("helm") and "NAME" not in one]
    ours = commands(
        "sync-runner-dev",
        "overlays/dev",
        "overlays/production",
        "sync-runner rollout",
        "sync-runner create",
        "sync-runner wait",
        "sync-runner get pods",
        "logs -l",
    )
    assert len(helm) == 3
    assert set(rest) == set(ours)
    assert [one for one in COMMANDS if "NAME" in one] == ["kubectl -n sync-runner delete job NAME"]
