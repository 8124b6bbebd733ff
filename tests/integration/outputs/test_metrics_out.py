"""The three ways out for metrics, with the real promtool, Pushgateway and OpenMetrics parser."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from runner.events.events import SyncEnded
from runner.events.observer import Record
from runner.outputs.metrics import LAST_SUCCESS, MetricsListener
from runner.outputs.pushgateway import push
from runner.settings import PushgatewaySettings
from tests.integration.outputs.conftest import (
    Runner,
    background,
    get,
    lint,
    need,
    pushgateway_command,
    settings,
    until,
)
from tests.support.leak_scanner import Eavesdropper
from tests.support.monitoring import DESIGN
from tests.support.ports import free_port
from tests.support.raw_server import RawServer, http, reset


def shape(text: str, *, more: frozenset[str] = frozenset()) -> dict[str, tuple[str, set[str]]]:
    """Each of our metrics that has a series: its type and labels, less those in `more`."""
    found = {}
    for family in parse_text(text):
        if not family.name.startswith("sync_runner_") or not family.samples:
            continue
        labels = {name for sample in family.samples for name in sample.labels} - more - {"le"}
        name = family.name.removeprefix("sync_runner_") + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, labels)
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The one sample with at least these labels."""
    found = [
        (sample.labels, sample.value)
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == f"sync_runner_{name}" and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0][1])


def ours(text: str) -> str:
    """Of a Pushgateway's own page, what we pushed and what it notes of it."""
    kept = ("sync_runner_", "push_time_seconds", "push_failure_time_seconds")
    return "".join(
        line + "\n"
        for line in text.splitlines()
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(kept)
    )


def test_textfile_and_pushgateway_hold_exactly_the_designs_series_and_promtool_finds_no_fault(
    runner: Runner, pushgateway: str, tmp_path: Path
) -> None:
    file = tmp_path / "out.prom"
    done = runner.run(
        "run", "activities", "health", *settings(metrics__textfile=file, metrics__pushgateway__url=pushgateway)
    )
    assert done.code == 0 and not done.events("emit.failed"), done.err
    assert shape(file.read_text()) == DESIGN
    lint(file.read_text())
    held = get(f"{pushgateway}/metrics") or ""
    assert shape(held, more=frozenset({"job", "instance"})) == DESIGN
    lint(ours(held))
    assert value(held, "last_run_exit_code", job="sync_runner", instance="") == 0
    assert (
        value(held, "sync_items_total", sync_type="health")
        == value(held, "sync_items_processed", sync_type="health")
        > 0
    )


def test_the_endpoint_answers_while_the_run_lasts_in_both_formats(runner: Runner) -> None:
    runner.fault(kind="job_stalls", sync_type="health")  # the run lasts until it is told to end
    at = f"127.0.0.1:{free_port()}"
    with runner.start("run", "activities", "health", *settings(metrics__listen=at, poll__max="1s")) as process:
        try:
            last = "\nsync_runner_last_success_timestamp_seconds{"
            until(lambda: last in (get(f"http://{at}/metrics") or "") or None, "completed sync at /metrics")
            plain = get(f"http://{at}/metrics") or ""
            request = urllib.request.Request(
                f"http://{at}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
            )
            with urllib.request.urlopen(request) as answer:
                assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
                read: Any = parse_openmetrics  # untyped
                families = {family.name: family.type for family in read(answer.read().decode())}
        finally:
            process.terminate()
            process.communicate(timeout=180)
    lint(plain)
    of_the_end = {"last_run_timestamp_seconds", "last_run_exit_code", "run_duration_seconds"}
    assert shape(plain) == {name: DESIGN[name] for name in DESIGN if name not in of_the_end}
    assert families["sync_runner_syncs"] == families["sync_runner_sync_items"] == "counter"
    assert families["sync_runner_http_request_duration_seconds"] == "histogram"
    assert process.returncode == 143


def test_a_failed_sync_leaves_its_last_success_as_it_was(runner: Runner, pushgateway: str, tmp_path: Path) -> None:
    file = tmp_path / "out.prom"
    words = ["run", "activities", "health", *settings(metrics__textfile=file, metrics__pushgateway__url=pushgateway)]
    assert runner.run(*words).code == 0
    first = [file.read_text(), get(f"{pushgateway}/metrics") or ""]
    runner.fault(kind="job_fails", sync_type="health")
    assert runner.run(*words).code == 5
    name = "last_success_timestamp_seconds"
    for before, after in zip(first, [file.read_text(), get(f"{pushgateway}/metrics") or ""], strict=True):
        assert value(after, name, sync_type="health") == value(before, name, sync_type="health")
        assert value(after, name, sync_type="activities") > value(before, name, sync_type="activities")
        assert value(after, "last_run_exit_code") == 5
        assert value(after, "syncs_total", sync_type="health") == 1
        assert value(after, "syncs_total", result="failed") == 1
    lint(file.read_text())


def test_skew_logins_and_retries_are_counted(runner: Runner, tmp_path: Path) -> None:
    file = tmp_path / "out.prom"
    words = ["run", "health", *settings(metrics__textfile=file, retry__wait="10ms", state__dir=tmp_path / "state")]
    runner.server.sandbox._offset = -45.0
    runner.fault(kind="status", endpoint="trigger", status=503)
    assert runner.run(*words).code == 0
    text = file.read_text()
    assert -47 <= value(text, "clock_skew_seconds", account="default") <= -43
    assert value(text, "retries_total", endpoint="trigger", reason="unavailable") == 1
    assert value(text, "http_requests_total", endpoint="trigger", code="503") == 1
    assert value(text, "logins_total", method="login", result="success") == 1
    assert runner.run(*words).code == 0
    assert value(file.read_text(), "logins_total", method="cached", result="success") == 1
    (runner.secrets / "password").write_text("wrong")
    shutil.rmtree(tmp_path / "state")
    assert runner.run(*words).code == 3
    assert value(file.read_text(), "logins_total", method="login", result="failure") == 1
    assert value(file.read_text(), "syncs_total", result="authentication") == 1


def test_a_textfile_that_can_not_be_read_or_is_none_is_told_or_replaced(runner: Runner, tmp_path: Path) -> None:
    file = tmp_path / "out.prom"
    file.write_text("{{{ no metrics \x00")
    assert runner.run("run", "health", *settings(metrics__textfile=file)).code == 0
    assert value(file.read_text(), "last_run_exit_code") == 0
    file.unlink()
    file.mkdir()
    done = runner.run("run", "health", *settings(metrics__textfile=file))
    assert (done.code, [line["target"] for line in done.events("emit.failed")]) == (0, ["textfile"])


def test_a_run_ended_by_sigterm_is_pushed_too(runner: Runner, pushgateway: str) -> None:
    runner.fault(kind="job_stalls")
    with runner.start("run", "health", *settings(metrics__pushgateway__url=pushgateway)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if '"sync.triggered"' in line:
                break
        process.terminate()
        process.communicate(timeout=180)
    held = get(f"{pushgateway}/metrics") or ""
    assert value(held, "last_run_exit_code") == process.returncode == 143
    assert value(held, "syncs_total", result="interrupted") == 1
    without_success = {name: DESIGN[name] for name in DESIGN if name != "last_success_timestamp_seconds"}
    assert shape(held, more=frozenset({"job", "instance"})) == without_success


@contextmanager
def silent_server(drip: bytes = b"") -> Iterator[str]:
    """Takes connections and never answers, or answers a byte now and then for ever."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            while drip and not over.wait(0.2):
                try:
                    connection.sendall(drip)
                except OSError:
                    break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for connection in kept:
            connection.close()
        thread.join(5)


@pytest.mark.parametrize("drip", [b"", b"X"], ids=["silent", "dripping"])
def test_a_pushgateway_that_hangs_adds_its_time_out_and_nothing_else(
    runner: Runner, drip: bytes, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    with silent_server(drip) as url:
        began = time.monotonic()
        done = runner.run("run", "health", *settings(metrics__pushgateway__url=url, report__file=report))
        spent = time.monotonic() - began
    assert done.code == 0
    [failed] = done.events("emit.failed")
    assert failed["target"] == "pushgateway" and "response within 1.8 s" in failed["error"]
    [ended] = done.events("run.ended")
    pushed = datetime.fromisoformat(failed["timestamp"]) - datetime.fromisoformat(ended["timestamp"])
    assert 1.7 <= pushed.total_seconds() < 3.5  # 1.8 s by default; the rest is a noisy machine's
    assert spent < ended["duration_seconds"] + 2.0 + 5.0  # and the process does not stay for the thread
    assert '"exit_code": 0' in report.read_text()


@pytest.mark.parametrize(
    ("key", "path"),
    [("metrics__pushgateway__url", b"PUT /metrics/job"), ("metrics__otlp__endpoint", b"POST /v1/metrics")],
    ids=["pushgateway", "otlp"],
)
def test_a_receiver_that_starts_up_or_hiccups_gets_its_metrics_after_all(runner: Runner, key: str, path: bytes) -> None:
    """A connection that breaks and a 503 are tried again within the time-out."""
    with RawServer(reset, http(status="503 Service Unavailable"), http(b"")) as server:
        done = runner.run(
            "run", "health", *settings(**{key: server.base_url, key.rpartition("__")[0] + "__timeout": "9s"})
        )
    assert (done.code, done.events("emit.failed")) == (0, [])
    assert [one.startswith(path) for one in server.requests[:2]] == [True, True]


def test_no_metrics_fault_changes_the_exit_code(runner: Runner, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        nobody = f"http://127.0.0.1:{free_port()}"
        done = runner.run(
            "run",
            "health",
            *settings(
                metrics__listen=listen,
                metrics__textfile=tmp_path / "missing" / "out.prom",
                metrics__pushgateway__url=nobody,
                metrics__pushgateway__username="pusher",
                metrics__pushgateway__password_file=tmp_path / "nowhere",
            ),
        )
    assert done.code == 0
    told = {line["target"]: line["error"] for line in done.events("emit.failed")}
    assert set(told) == {"metrics endpoint", "textfile", "pushgateway", "nowhere"}
    assert "Address already in use" in told["metrics endpoint"]
    assert "No such file" in told["textfile"]
    assert "(Connection refused)" in told["pushgateway"]


def test_each_instance_and_odd_account_has_a_group_of_its_own(runner: Runner, pushgateway: str) -> None:
    account = "a/b .. ünï%20"
    for instance in ("one", "two/2"):
        words = settings(metrics__pushgateway__url=pushgateway, metrics__pushgateway__instance=instance)
        assert runner.run("run", "health", "--set", f"account={account}", *words).code == 0
    held = get(f"{pushgateway}/metrics") or ""
    for instance in ("one", "two/2"):
        assert value(held, "last_run_exit_code", instance=instance) == 0
        assert value(held, "last_success_timestamp_seconds", instance=instance, account=account, sync_type="health") > 0


def test_what_is_stale_goes_but_never_the_last_success_of_a_sync_that_runs(runner: Runner, pushgateway: str) -> None:
    def put(path: str, accounts: str = "") -> None:
        rows = "".join(f'{LAST_SUCCESS}{{account="{one}"}} 1\n' for one in accounts.split()) or f"{LAST_SUCCESS} 1\n"
        body = f"# TYPE {LAST_SUCCESS} gauge\n{rows}".encode()
        urllib.request.urlopen(urllib.request.Request(f"{pushgateway}/metrics{path}", data=body, method="PUT")).close()

    put("/job/sync_runner/sync_type/activities", "default gone")
    put("/job/sync_runner/sync_type/no-more", "default")
    for path in ("/job/sync_runner/instance/gone", "/job/another"):
        put(path)
    pushed = time.time()
    until(lambda: True if time.time() > pushed + 1.2 else None, "second")
    runner.fault(kind="job_fails", sync_type="activities")
    words = settings(metrics__pushgateway__url=pushgateway, metrics__pushgateway__stale_after="1s")
    done = runner.run("run", "activities", *words)
    assert done.code == 4 and not done.events("emit.failed")
    held = get(f"{pushgateway}/metrics") or ""
    assert value(held, "last_success_timestamp_seconds", account="default", sync_type="activities") == 1
    assert value(held, "last_success_timestamp_seconds", job="another") == 1
    assert 'account="gone"' not in held and 'instance="gone"' not in held and "no-more" not in held


def test_accounts_share_their_last_successes_group_and_none_of_them_loses_its_own(
    runner: Runner, pushgateway: str
) -> None:
    words = ["run", "health", *settings(metrics__pushgateway__url=pushgateway)]
    for account in ("one", 'two "quoted"'):
        assert runner.run(*words, "--set", f"account={account}").code == 0
    held = get(f"{pushgateway}/metrics") or ""
    for account in ("one", 'two "quoted"'):
        assert value(held, "last_success_timestamp_seconds", account=account, sync_type="health") > 0


def test_a_thousand_accounts_are_pushed_in_a_few_requests() -> None:
    """The Pushgateway compares all it holds at each push: a request for each of 3,000 syncs took 281 s."""
    metrics = MetricsListener()
    for number in range(1000):
        for kind in ("activities", "health", "workouts"):
            context = {"account": str(number), "sync": kind, "sync_type": kind}
            metrics(Record(1_700_000_000.0 + number, SyncEnded("completed", 1.0, 1), context))
    ear = Eavesdropper()
    assert push(metrics, PushgatewaySettings(url=ear.url), []) is None
    ear.close()
    group = "/metrics/job/sync_runner"
    groups = [f"{group}/sync_type/{kind}" for kind in ("activities", "health", "workouts")]
    assert [on_response.splitlines()[0] for on_response in ear.on_response] == [group, "/metrics", *groups]


def test_a_pushgateway_behind_tls_and_a_password_takes_the_push_and_the_password_is_told_to_nobody(
    runner: Runner, tmp_path: Path
) -> None:
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    password = "canary-push-password"
    hashed = "$2b$04$/dnAtFjK9r.fSdIsGlUav.bFCdvpVERT5cGDlxISUSvpN0l2rTjta"
    (tmp_path / "web.yml").write_text(
        f"tls_server_config: {{cert_file: cert.pem, key_file: key.pem}}\nbasic_auth_users: {{pusher: '{hashed}'}}\n"
    )
    (tmp_path / "push_password").write_text(password + "\n")
    (tmp_path / "push_password").chmod(0o600)
    at = f"127.0.0.1:{free_port()}"
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    def page() -> str | None:
        try:
            answer = httpx.get(f"https://{at}/metrics", auth=("pusher", password), verify=trusted)
        except httpx.ConnectError:
            return None
        assert answer.status_code == 200, answer.text
        return answer.text

    command = [*pushgateway_command(at, tmp_path), f"--web.config.file={tmp_path / 'web.yml'}"]
    with background(command, page, tmp_path):
        common = settings(metrics__pushgateway__url=f"https://{at}", metrics__pushgateway__username="pusher")
        common += settings(metrics__pushgateway__timeout="10s")  # the server's bcrypt takes its time
        trust = settings(metrics__pushgateway__ca_file=tmp_path / "cert.pem")
        secret = settings(metrics__pushgateway__password_file=tmp_path / "push_password")
        for words, fault in ((secret, "self-signed certificate"), (trust, "answered 401")):
            done = runner.run("run", "health", "-v", *common, *words)
            assert done.code == 0
            assert [fault in line["error"] for line in done.events("emit.failed")] == [True]
            assert password not in done.err
        assert "sync_runner_" not in (page() or "sync_runner_")
        done = runner.run("run", "health", "-v", *common, *trust, *secret)
        assert (done.code, done.events("emit.failed")) == (0, [])
        assert value(page() or "", "last_run_exit_code") == 0
        assert password not in done.err
