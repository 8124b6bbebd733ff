"""Sessions in a Secret, against the real API: its rights are enough, and each of them is needed."""

import base64
import copy
import time

import pytest

from runner.auth.totp import code, parse_seed, step_at
from tests.cluster.judge import SEED, Judge, none_twice
from tests.cluster.kube import apply, awaited, get, kubectl
from tests.cluster.lab import Lab
from tests.support.manifests import Object, with_components

NAME = "sync-runner-session"
POD: Object = {"automountServiceAccountToken": True}
ENV = {"SYNC_RUNNER_STATE__KUBERNETES_SECRET": NAME, "SYNC_RUNNER_SYNCS": "activities"}


def bring(lab: Lab, **verbs: list[str]) -> None:
    """What the component brings, in a namespace; `verbs` replaces those of its Role."""
    ours = ("Secret", "Role", "RoleBinding", "NetworkPolicy")
    objects = [copy.deepcopy(one) for one in with_components("token-secret") if one["kind"] in ours]
    for one in objects:
        one["metadata"]["namespace"] = lab.space
        if one["kind"] == "Role" and verbs:
            one["rules"][0] |= verbs
    apply(*objects, lab.way("judge", "10.251.0.1", 443, 449))


@pytest.fixture(autouse=True)
def brought(lab: Lab) -> None:
    """The component as it is shipped, with an empty Secret."""
    kubectl("-n", lab.space, "delete", "secret", NAME, "--ignore-not-found")
    bring(lab)


def content(lab: Lab) -> str:
    """All that is in the Secret, decoded."""
    data = get("secret", NAME, "-n", lab.space).get("data", {})
    return "\n".join(base64.b64decode(value).decode() for value in data.values())


def test_the_second_run_has_the_session_of_the_first_and_applying_again_keeps_it(lab: Lab, judge: Judge) -> None:
    case = judge.case("session")
    lab.start("session-1", case, env=ENV, pod=POD)
    assert "Complete" in lab.ended("session-1")
    before = content(lab)
    assert "ACCESS-" in before
    bring(lab)
    assert content(lab) == before
    lab.start("session-2", case, env=ENV, pod=POD)
    assert "Complete" in lab.ended("session-2")
    assert case.results() == ["good"]


def test_two_pods_at_once_log_in_once(lab: Lab, judge: Judge) -> None:
    case = judge.case("at-once")
    for name, kind in (("at-once-1", "activities"), ("at-once-2", "health")):
        lab.start(name, case, env={**ENV, "SYNC_RUNNER_SYNCS": kind}, pod=POD)
    assert all("Complete" in lab.ended(name) for name in ("at-once-1", "at-once-2"))
    assert case.results() == ["good"]
    none_twice([case])


def test_a_code_from_a_person_goes_through_the_secret_to_the_pod_that_waits(lab: Lab, judge: Judge) -> None:
    case = judge.case("person")
    lab.start("person", case, env={**ENV, "SYNC_RUNNER_CODE__SOURCE": "person"}, pod=POD)
    pod, seed = lab.runs("person"), parse_seed(SEED)

    def handed_over() -> bool:
        number = code(seed, step_at(seed, time.time()))
        said = kubectl("-n", lab.space, "exec", pod.name, "--", "sync-runner", "submit-code", number, check=False)
        return said.returncode == 0

    awaited("a code that is taken", handed_over)
    assert "Complete" in lab.ended("person")
    assert case.results() == ["good"]
    assert [line["received"] for line in lab.log(pod.name) if line["event"] == "login.code_wait_ended"] == [True]


def test_its_rights_are_two_verbs_on_one_secret(lab: Lab) -> None:
    who = f"--as=system:serviceaccount:{lab.space}:sync-runner"
    for verb, what, may in (
        ("get", f"secret/{NAME}", True),
        ("patch", f"secret/{NAME}", True),
        ("get", "secret/sync-runner", False),
        *((verb, f"secret/{NAME}", False) for verb in ("update", "delete", "watch")),
        *((verb, "secrets", False) for verb in ("list", "create", "get", "patch")),
        *(("get", what, False) for what in ("configmaps", "pods", "leases")),
    ):
        said = kubectl("-n", lab.space, "auth", "can-i", verb, what, who, check=False).stdout.strip()
        assert said == ("yes" if may else "no"), (verb, what)


@pytest.mark.parametrize("left", ["get", "patch"])
def test_without_one_of_them_no_login_is_sent_and_the_message_says_what_to_grant(
    lab: Lab, judge: Judge, left: str
) -> None:
    bring(lab, verbs=[left])
    case = judge.case(f"only-{left}")
    lab.start(f"only-{left}", case, env=ENV, pod=POD)
    assert lab.ended(f"only-{left}")["Failed"] == "PodFailurePolicy"
    (pod,) = lab.pods(f"only-{left}")
    assert pod.code in (2, 3)
    assert NAME in pod.message and "patch" in pod.message
    assert case.results() == []


def test_a_missing_secret_is_told_in_seconds(lab: Lab, judge: Judge) -> None:
    kubectl("-n", lab.space, "delete", "secret", NAME)
    case = judge.case("no-session")
    lab.start("no-session", case, env=ENV, pod=POD)
    assert lab.ended("no-session")["Failed"] == "PodFailurePolicy"
    (pod,) = lab.pods("no-session")
    assert NAME in pod.message
    assert case.results() == []


def test_an_immutable_secret_is_a_matter_of_configuration_in_the_servers_own_words(lab: Lab, judge: Judge) -> None:
    kubectl("-n", lab.space, "patch", "secret", NAME, "-p", '{"immutable": true}')
    case = judge.case("immutable")
    lab.start("immutable", case, env=ENV, pod=POD)
    lab.ended("immutable")
    pods = lab.pods("immutable")
    assert [pod.code for pod in pods] == [2]
    assert "immutable" in pods[0].message
    assert len(case.results()) <= 1


@pytest.mark.parametrize("what", ["rolebinding", "secret"])
def test_a_store_that_goes_away_in_mid_run_does_not_end_the_run(lab: Lab, judge: Judge, what: str) -> None:
    case = judge.case(f"gone-{what}", seconds=40.0, token_seconds=15)
    lab.start(f"gone-{what}", case, env=ENV, pod=POD)
    lab.works(case)
    name = NAME if what == "secret" else "sync-runner"
    kubectl("-n", lab.space, "delete", what, name)
    assert "Complete" in lab.ended(f"gone-{what}")
    assert case.ended() == [("activities", "completed")]
    assert "state.problem" in [line["event"] for line in lab.log(lab.pods(f"gone-{what}")[0].name)]
