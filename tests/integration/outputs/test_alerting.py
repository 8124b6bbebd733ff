"""From a refused login to the pager: a real Prometheus with our rules, a real Alertmanager with our routes, one delivery."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.outputs.conftest import background, get, need, sandbox_runner, settings, until
from tests.integration.outputs.test_monitoring import monitored
from tests.support.monitoring import MONITORING
from tests.support.ports import free_port
from tools.address import repository


@contextmanager
def pager() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a receiver of webhooks, and the deliveries that it got."""
    deliveries: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            deliveries.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", deliveries
        server.shutdown()


def routes(receiver: str) -> str:
    """alertmanager.yml with another receiver, and without its wait for further alerts."""
    config = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    [team] = config["receivers"]
    [webhook] = team["webhook_configs"]
    webhook["url"] = receiver
    text: str = yaml.safe_dump(config)
    return text


def named(deliveries: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Each alert of this name, once for each time that it was delivered."""
    return [alert for one in deliveries for alert in one["alerts"] if alert["labels"]["alertname"] == name]


def test_a_refused_login_reaches_the_pager_once_with_the_accounts_name_and_hides_what_follows_from_it(
    tmp_path: Path, year: Path
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    command = [
        need("prometheus-alertmanager"), "--config.file=alertmanager.yml", f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address={address.removeprefix('http://')}", "--cluster.listen-address=",
    ]  # fmt: skip
    with pager() as (receiver, deliveries):
        (tmp_path / "alertmanager.yml").write_text(routes(receiver))
        with (
            background(command, lambda: get(f"{address}/-/ready"), tmp_path),
            monitored(tmp_path, address) as prometheus,
            sandbox_runner(tmp_path, data=year) as runner,
        ):
            words = ["run", "health", *settings(metrics__pushgateway__url=prometheus.pushgateway)]
            assert runner.run(*words).code == 0
            (runner.secrets / "password").write_text("wrong")
            assert runner.run(*words).code == 3
            # The success is three seconds old by now, and that alert fires too.
            prometheus.fires(("SyncRunnerLoginRefused", ""), ("SyncRunnerNotSucceeded", "health"))
            [alert] = until(lambda: named(deliveries, "SyncRunnerLoginRefused") or None, "delivery")
            until(lambda: alerts_of(address, "SyncRunnerNotSucceeded", "suppressed"), "inhibited alert")
    assert alert["status"] == "firing"
    assert alert["labels"]["account"] == "default"
    assert "account default was refused" in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"].startswith(
        f"https://github.com/{repository()}/blob/main/docs/runbook.md#"
    )
    assert len(named(deliveries, "SyncRunnerLoginRefused")) == 1


def alerts_of(alertmanager: str, name: str, state: str) -> list[Any] | None:
    """The alerts of this name that Alertmanager has in this state, or None."""
    found = json.loads(get(f"{alertmanager}/api/v2/alerts") or "[]")
    wanted = [one for one in found if one["labels"]["alertname"] == name and one["status"]["state"] == state]
    return wanted or None
