"""What is shipped for monitoring, and a Prometheus that tests ask: the design's series, rules for a test's pace, the dashboard."""

import json
import re
import time
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

from tests.integration.outputs.conftest import get, until

MONITORING = Path(__file__).parents[2] / "k8s" / "monitoring"
SYNC = {"account", "sync_type"}
DESIGN: dict[str, tuple[str, set[str]]] = {
    "last_run_timestamp_seconds": ("gauge", set()),
    "last_success_timestamp_seconds": ("gauge", SYNC),
    "last_run_exit_code": ("gauge", set()),
    "run_duration_seconds": ("gauge", set()),
    "sync_duration_seconds": ("gauge", SYNC),
    "sync_items_processed": ("gauge", SYNC),
    "sync_items_total": ("counter", SYNC),
    "syncs_total": ("counter", SYNC | {"result"}),
    "logins_total": ("counter", {"account", "method", "result"}),
    "http_requests_total": ("counter", {"endpoint", "code"}),
    "http_request_duration_seconds": ("histogram", {"endpoint"}),
    "retries_total": ("counter", {"endpoint", "reason"}),
    "clock_skew_seconds": ("gauge", {"account"}),
    "build_info": ("gauge", {"version"}),
}
OF_A_PERSON: dict[str, tuple[str, set[str]]] = {  # only with `code.source: person`
    "code_wanted": ("gauge", {"account"}),
    "session_end_timestamp_seconds": ("gauge", {"account"}),
}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())


def dashboard_queries(job: str) -> list[str]:
    """Every query of the dashboard's panels and annotations, for one job and all accounts."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    # An annotation is right to show nothing at most times: only what it looks at must be there.
    queries += [one["expr"].replace("> 0", ">= 0") for one in DASHBOARD["annotations"]["list"]]
    assert len(queries) >= 17
    return [query.replace("$job", job).replace("$account", ".*") for query in queries]


def quick_rules() -> str:
    """The alert rules, for runs that are due every second."""
    text = (MONITORING / "rules.yaml").read_text()
    assert text.count("vector(3600)") == 1
    return re.sub(r"for: \w+", "for: 0s", text.replace("vector(3600)", "vector(1)"))


def quick_config(pushgateway: str, alertmanager: str = "") -> str:
    """prometheus.yml for a test's pace, with the addresses of a Pushgateway and perhaps of an Alertmanager."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    [scrape] = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [pushgateway.removeprefix("http://")]}]
    targets = [alertmanager.removeprefix("http://")] if alertmanager else []
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": targets}]}]
    text: str = yaml.safe_dump(config)
    return text


class Prometheus:
    """A Prometheus and what it says."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; empty while nobody answers yet."""
        body = get(f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"] if body else []
        return found

    def scraped(self, expression: str) -> list[dict[str, Any]]:
        """The result once there is one."""
        return until(lambda: self.query(expression) or None, f"result of {expression}")

    def scraped_anew(self, job: str, code: int) -> None:
        """Wait for a scrape that begins from now on and holds the job's exit code.

        A run pushes several groups one after the other; an earlier scrape may have come between them.
        """
        series = f'sync_runner_last_run_exit_code{{job="{job}"}}'
        self.scraped(f"timestamp({series}) > {time.time()} and {series} == {code}")

    def holds_the_design(self, job: str) -> None:
        """Wait until every series of the design is there for the job."""
        for name, (kind, _labels) in DESIGN.items():
            self.scraped(f'sync_runner_{name}{"_bucket" if kind == "histogram" else ""}{{job="{job}"}}')

    def answers_the_dashboard(self, job: str) -> None:
        """Every query of the dashboard returns data."""
        for query in dashboard_queries(job):
            assert self.query(query), query

    def last_successes(self, job: str) -> dict[str, float]:
        """When each sync type last completed, in Unix seconds."""
        found = self.query(f'sync_runner_last_success_timestamp_seconds{{job="{job}"}}')
        return {one["metric"]["sync_type"]: float(one["value"][1]) for one in found}

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire: name and sync type, where it has one."""
        body = get(f"{self.url}/api/v1/alerts") or '{"data": {"alerts": []}}'
        alerts = [alert for alert in json.loads(body)["data"]["alerts"] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"].get("sync_type", "")) for alert in alerts}

    def fires(self, *alerts: tuple[str, str]) -> None:
        """Wait until all of these fire."""
        until(lambda: True if set(alerts) <= self.firing() else None, f"alerts {alerts}")
