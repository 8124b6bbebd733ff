"""What a runner's pod reaches, by the NetworkPolicies as they are enforced."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster.judge import Judge
from tests.cluster.kube import HOST, apply, awaited, kubectl
from tests.cluster.lab import Lab, python_pod
from tests.support.manifests import with_components

# One line of Python for each pod: connects to each address, and says what came of it.
PROBE = """
import json, socket, sys, time
time.sleep(3)  # until the policies know the pod
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print(json.dumps([target, True]), flush=True)
    except OSError:
        print(json.dumps([target, False]), flush=True)
"""
NODE_LOCAL_DNS = "169.254.20.10"


def probed(lab: Lab, name: str, *targets: str) -> dict[str, bool]:
    """Which of these HOST:PORT a runner's pod reaches."""
    lines = lab.python(name, PROBE, *targets).splitlines()
    return dict(json.loads(line) for line in lines)


@pytest.fixture(scope="module")
def listeners(lab: Lab) -> Iterator[None]:
    """Servers on this machine: port 443 of a public address and of a private one, DNS where NodeLocal DNSCache has it."""
    import subprocess

    addresses = (
        ("203.0.113.7", 443),
        ("203.0.113.7", 8443),
        (HOST, 9443),
        (NODE_LOCAL_DNS, 53),
        ("169.254.169.254", 443),
    )
    with ExitStack() as stack:
        for host in {host for host, _ in addresses if host != HOST}:
            subprocess.run(["ip", "address", "replace", f"{host}/32", "dev", "lo"], check=True)
            stack.callback(subprocess.run, ["ip", "address", "delete", f"{host}/32", "dev", "lo"], check=True)
        for host, port in addresses:
            server = stack.enter_context(socket.create_server((host, port)))
            threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield


def accept(server: socket.socket) -> None:
    """Take connections until the server is closed."""
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def test_a_runner_reaches_name_servers_and_public_https_and_nothing_else(
    lab: Lab, judge: Judge, listeners: None
) -> None:
    kubectl("-n", lab.space, "delete", "networkpolicy", "judge")
    found = probed(
        lab, "base", "203.0.113.7:443", "203.0.113.7:8443", f"{HOST}:6443", judge.address, f"{NODE_LOCAL_DNS}:53",
        "169.254.169.254:443", "10.252.0.10:53", f"{HOST}:10250",
    )  # fmt: skip
    assert {target for target, reached in found.items() if reached} == {
        "203.0.113.7:443",
        f"{NODE_LOCAL_DNS}:53",
        "10.252.0.10:53",
    }


def test_openshifts_name_servers_are_reached_at_the_port_of_their_pods(lab: Lab) -> None:
    space = "openshift-dns"
    labels = {"kubernetes.io/metadata.name": space}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}})
    serve = "import http.server as h, threading as t\nfor p in (5353, 8080):\n s = h.HTTPServer(('', p), h.BaseHTTPRequestHandler); t.Thread(target=s.serve_forever).start()"
    made = python_pod("dns", space, serve)
    kubectl("-n", space, "delete", "pod", "dns", "--ignore-not-found", "--wait")
    apply(made)
    words = ("-n", space, "get", "pod", "dns", "-o", "jsonpath={.status.podIP}/{.status.phase}")
    address = awaited(
        "the name server", lambda: (said := kubectl(*words).stdout).endswith("/Running") and said.split("/")[0]
    )
    found = probed(lab, "openshift", f"{address}:5353", f"{address}:8080")
    kubectl("delete", "namespace", space, "--wait=false")
    assert found == {f"{address}:5353": True, f"{address}:8080": False}


@pytest.mark.parametrize(("component", "opened"), [("private-network", "judge"), ("token-secret", f"{HOST}:6443")])
def test_a_component_opens_what_it_says_and_no_more(
    lab: Lab, judge: Judge, listeners: None, component: str, opened: str
) -> None:
    (policy,) = [one for one in with_components(component) if one["kind"] == "NetworkPolicy"]
    policy["metadata"]["namespace"] = lab.space
    apply(policy)
    targets = (f"{HOST}:443", f"{HOST}:6443", f"{HOST}:9443", "169.254.169.254:443")
    with ExitStack() as stack:
        with contextlib.suppress(OSError):  # a judge is there
            server = stack.enter_context(socket.create_server((HOST, 443)))
            threading.Thread(target=accept, args=(server,), daemon=True).start()
        found = probed(lab, component, *targets)
    assert {target for target, reached in found.items() if reached} == {opened.replace("judge", f"{HOST}:443")}
