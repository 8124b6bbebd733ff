"""Pings and webhooks over real sockets: what is sent, when, how often, and that nothing of it changes how a run ends."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.outputs.conftest import Runner, settings
from tests.integration.outputs.test_metrics_out import silent_server
from tests.support.ports import free_port


class Receiver:
    """Takes every POST, and answers with the statuses it was given, then 200."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []  # path with query, Content-Type, body
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.seen.append((self.path, self.headers["Content-Type"], body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def paths(self) -> list[str]:
        """The paths in order, without their query."""
        return [path.partition("?")[0] for path, _kind, _body in self.seen]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_good_run_pings_start_and_success_with_one_id_and_tells_what_it_did(
    runner: Runner, receiver: Receiver
) -> None:
    done = runner.run("run", "health", *settings(notify__ping__url=f"{receiver.url}/abc"))
    assert done.code == 0
    run_id = done.lines[0]["run_id"]
    assert [path for path, _kind, _body in receiver.seen] == [f"/abc/start?rid={run_id}", f"/abc?rid={run_id}"]
    assert "default / health: completed" in receiver.seen[1][2]


def test_a_failed_run_pings_failure_and_posts_the_webhook(runner: Runner, receiver: Receiver) -> None:
    runner.fault(kind="job_fails")
    body = '{"code": ${exit_code}, "why": "${error}", "of": [${completed}, ${total}]}'
    words = settings(
        notify__ping__url=receiver.url, notify__webhook__url=f"{receiver.url}/hook", notify__webhook__body=body
    )
    assert runner.run("run", "health", *words).code == 4
    assert sorted(receiver.paths) == ["/fail", "/hook", "/start"]  # side by side
    ((kind, sent),) = [(kind, sent) for path, kind, sent in receiver.seen if path == "/hook"]
    assert kind == "application/json"
    assert json.loads(sent) == {"code": 4, "why": "the data source is not available", "of": [0, 1]}


def test_a_run_ended_by_a_signal_is_logged_and_no_failure(runner: Runner, receiver: Receiver) -> None:
    runner.fault(kind="job_stalls")
    with runner.start("run", "health", *settings(notify__ping__url=receiver.url)) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"sync.triggered"' in line)
        process.terminate()
        process.communicate(timeout=180)
    assert process.returncode == 143
    assert receiver.paths == ["/start", "/log"]


def test_only_what_the_settings_ask_for_is_sent(runner: Runner, receiver: Receiver) -> None:
    words = settings(
        notify__ping__url=receiver.url, notify__ping__when="failure",
        notify__webhook__url=f"{receiver.url}/hook", notify__webhook__when="success",
    )  # fmt: skip
    assert runner.run("run", "health", *words).code == 0
    assert receiver.paths == ["/hook"]


def test_a_server_error_is_tried_again_and_a_refusal_is_not(runner: Runner, receiver: Receiver) -> None:
    words = settings(notify__ping__url=receiver.url, notify__ping__when="success", notify__budget="10s")
    receiver.statuses = [503, 429]
    done = runner.run("run", "health", *words)
    assert (done.code, receiver.paths, done.events("emit.failed")) == (0, ["/", "/", "/"], [])
    receiver.statuses = [404, 200]
    done = runner.run("run", "health", *words)
    assert (done.code, len(receiver.seen)) == (0, 4)
    assert [line["error"] for line in done.events("emit.failed")] == ["ping success: 127.0.0.1 answered 404"]


def test_nobody_there_or_nobody_answering_costs_the_budget_at_most_and_no_token_is_told(
    runner: Runner, tmp_path: Path
) -> None:
    token = "canary-token-in-the-address"
    file = tmp_path / "hook_url"
    file.touch(mode=0o600)
    with silent_server() as url:
        file.write_text(f"{url}/{token}?sig={token}\n")
        words = settings(
            notify__ping__url=f"http://127.0.0.1:{free_port()}", notify__budget="1s",
            notify__webhook__url_file=file, notify__webhook__when="success",
        )  # fmt: skip
        began = time.monotonic()
        done = runner.run("run", "health", "-v", *words)
        spent = time.monotonic() - began
    assert done.code == 0
    assert spent < done.events("run.ended")[0]["duration_seconds"] + 1.0 + 5.0
    told = [line["error"] for line in done.events("emit.failed")]
    assert any("ping success: " in error for error in told)
    assert any(error.startswith("webhook: ") for error in told)
    assert token not in done.err


def test_a_secret_file_that_is_not_there_is_told_and_the_run_goes_on(runner: Runner, tmp_path: Path) -> None:
    done = runner.run("run", "health", *settings(notify__ping__url_file=tmp_path / "nowhere"))
    assert done.code == 0
    assert "no such secret" in done.events("emit.failed")[0]["error"]


@pytest.mark.parametrize(("address", "sent"), [("http://hooks.example.org/T0KEN-of-the-hook", False), ("http://127.0.0.1:1/T0KEN-of-the-hook", True)])  # fmt: skip
@pytest.mark.parametrize("kind", ["ping", "webhook"])
def test_a_secret_address_does_not_go_over_plain_http_to_another_machine(
    runner: Runner, tmp_path: Path, kind: str, address: str, sent: bool
) -> None:
    file = tmp_path / "address"
    file.write_text(address)
    words = [f"--set=notify.{kind}.url_file={file}", f"--set=notify.{kind}.when=success", "--set=notify.budget=1s"]
    done = runner.run("run", "health", *words)
    told = [line["error"] for line in done.events("emit.failed")]
    assert done.code == 0 and told and "T0KEN" not in done.err
    assert all(("plain http would reveal the secret address" in one) is not sent for one in told)
