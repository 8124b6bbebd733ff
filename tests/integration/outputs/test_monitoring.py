"""Alert rules and dashboard, in a real Prometheus that scrapes a real Pushgateway after real runs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.prometheus_rule import OBJECT, RULES, prometheus_rule
from runner.errors import ExitCode
from tests.integration.outputs.conftest import (
    Runner,
    background,
    get,
    need,
    pushgateway_command,
    sandbox_runner,
    settings,
    until,
)
from tests.support.monitoring import DASHBOARD, DESIGN, MONITORING, Prometheus, quick_config, quick_rules
from tests.support.ports import free_port
from tools.address import repository

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_promtool_finds_no_fault_in_the_rules_and_their_own_tests_pass() -> None:
    for words in (
        ["check", "rules", "rules.yaml"],
        ["test", "rules", "rules_test.yaml"],
        ["check", "config", "prometheus.yml"],
    ):
        done = subprocess.run([need("promtool"), *words], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "found_by"),
    [
        (
            "sync_runner_last_success_timestamp_seconds <= time() + 300\n",
            "sync_runner_last_success_timestamp_seconds\n",
            "A last success that lies ahead",
        ),
        (
            "> on (job) group_left () 3 * sync_runner:interval_seconds",
            "> 3 * 3600",
            "Each schedule has its own interval",
        ),
        (
            "or on (job, instance) sync_runner_last_run_exit_code == 3",
            "or sync_runner_last_run_exit_code == 3",
            "A refused login fires at once",
        ),
    ],
)
def test_the_rules_own_tests_find_a_rule_that_never_fires_or_takes_the_wrong_time(
    right: str, wrong: str, found_by: str, tmp_path: Path
) -> None:
    """All conditions were broken one by one once; see the decision on rules that remember. Here: one for each kind."""
    text = (MONITORING / "rules.yaml").read_text()
    own = yaml.safe_load((MONITORING / "rules_test.yaml").read_text())
    own["tests"] = [test for test in own["tests"] if test["name"].startswith(found_by)]
    (tmp_path / "rules_test.yaml").write_text(yaml.safe_dump(own))
    (tmp_path / "rules_test_schedules.yaml").write_text((MONITORING / "rules_test_schedules.yaml").read_text())
    codes = []
    for rules_text in (text, text.replace(right, wrong)):
        (tmp_path / "rules.yaml").write_text(rules_text)
        words = [need("promtool"), "test", "rules", "rules_test.yaml"]
        codes.append(subprocess.run(words, cwd=tmp_path, capture_output=True).returncode)
    assert codes == [0, 1]


def test_the_prometheus_rule_is_the_rules() -> None:
    text = OBJECT.read_text()
    assert text == prometheus_rule(RULES.read_text())
    read = yaml.safe_load(text)
    assert (read["apiVersion"], read["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert read["spec"] == yaml.safe_load(RULES.read_text())
    component = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    assert component["resources"] == [OBJECT.name]


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    read = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    tested: dict[str, set[bool]] = {}
    for test in yaml.safe_load((MONITORING / "rules_test.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            tested.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert tested == {rule["alert"]: {True, False} for rule in rules()}


def test_the_runbook_has_a_whole_section_for_each_exit_code_and_alert_and_no_other() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))
    codes = {f"Exit code {code}: {code.meaning}" for code in ExitCode}
    alerts = {f"Alert {rule['alert']}" for rule in rules()}
    assert set(sections) == codes | alerts | {
        "Exit code 137: killed by SIGKILL"
    }  # not the runner's, but as often looked up
    for head, body in sections.items():
        for part in ("**Means:**", "**Look:**", "**Do:**"):
            assert part in body, (head, part)
    page = f"https://github.com/{repository()}/blob/main/docs/runbook.md"
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"{page}#alert-{rule['alert'].lower()}"


def known(given: Any, kept: Any, at: str = "dashboard") -> Iterator[str]:
    """What of `given` is not in `kept`, or is another value there."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from known(value, kept[key], f"{at}.{key}") if key in kept else [f"{at}.{key}"]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from known(one, other, f"{at}[{index}]")
    elif given != kept:
        yield at


def test_grafanas_own_model_of_its_schema_knows_everything_in_the_dashboard() -> None:
    """Of the Grafana that compose.yaml names: what its model does not know is lost on the way through it."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    through = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(DASHBOARD)))))
    assert list(known(DASHBOARD, through)) == []
    strange = {**DASHBOARD, "panels": [{**DASHBOARD["panels"][0], "no such field": 1}]}
    through = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(strange)))))
    assert list(known(strange, through)) == ["dashboard.panels[0].no such field"]
    image = COMPOSE["services"]["grafana"]["image"]
    assert version("grafana-foundation-sdk").partition("!")[2] == image.partition(":")[2]


def test_compose_provisions_grafana_with_the_datasource_and_the_dashboard() -> None:
    mounts = dict(mount.removesuffix(":ro").split(":") for mount in COMPOSE["services"]["grafana"]["volumes"])
    assert all((ROOT / source).is_file() for source in mounts)
    inside = {target: yaml.safe_load((ROOT / source).read_text()) for source, target in mounts.items()}
    begin = "/etc/grafana/provisioning"
    [datasources] = [read for target, read in inside.items() if target.startswith(f"{begin}/datasources/")]
    [dashboards] = [read for target, read in inside.items() if target.startswith(f"{begin}/dashboards/")]
    assert [one["url"] for one in datasources["datasources"]] == ["http://prometheus:9090"]
    [provider] = dashboards["providers"]
    provided = [read for target, read in inside.items() if str(Path(target).parent) == provider["options"]["path"]]
    assert provided == [DASHBOARD]


def test_the_dashboard_is_well_formed() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["title"] and panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used == {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    metrics = set(re.findall(r"sync_runner_(\w+?)(?:_bucket)?\{", json.dumps(panels)))
    assert metrics == set(DESIGN)


class Monitored(Prometheus):
    """A Prometheus with the Pushgateway that it scrapes."""

    def __init__(self, url: str, pushgateway: str) -> None:
        super().__init__(url)
        self.pushgateway = pushgateway


@contextmanager
def monitored(directory: Path, alertmanager: str = "") -> Iterator[Monitored]:
    """A Prometheus that scrapes a Pushgateway five times a second, with our rules for runs that are due every second."""
    pushgateway, url = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    (directory / "rules.yaml").write_text(quick_rules())
    (directory / "prometheus.yml").write_text(quick_config(pushgateway, alertmanager))
    command = [
        need("prometheus"), "--config.file=prometheus.yml", f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]  # fmt: skip
    with (
        background(pushgateway_command(pushgateway, directory), lambda: get(f"{pushgateway}/-/ready"), directory),
        background(command, lambda: get(f"{url}/-/ready"), directory),
    ):
        yield Monitored(url, pushgateway)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """One for the tests of this module."""
    with monitored(tmp_path_factory.mktemp("prometheus")) as made:
        yield made


def test_every_query_of_the_dashboard_returns_data_after_the_demo(prometheus: Monitored) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SYNC_RUNNER_")}
    words = settings(metrics__pushgateway__url=prometheus.pushgateway, metrics__pushgateway__job="demo")
    done = subprocess.run(
        [sys.executable, "-m", "runner", "demo", "--job-seconds", "0", *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    prometheus.scraped_anew("demo", 0)
    prometheus.answers_the_dashboard("demo")
    prometheus.holds_the_design("demo")


def test_alerts_fire_for_a_run_that_stops_succeeding_and_for_a_refused_login(
    prometheus: Monitored, tmp_path: Path, year: Path
) -> None:
    with sandbox_runner(tmp_path, data=year) as runner:
        words = ["run", "health", *settings(metrics__pushgateway__url=prometheus.pushgateway)]
        assert runner.run(*words).code == 0
        runner.fault(kind="job_fails")
        assert runner.run(*words).code == 4
        prometheus.fires(("SyncRunnerNotSucceeded", "health"), ("SyncRunnerFailing", ""))
        (runner.secrets / "password").write_text("wrong")
        assert runner.run(*words).code == 3
        prometheus.fires(("SyncRunnerLoginRefused", ""))
        failing = ("SyncRunnerFailing", "")
        until(lambda: True if failing not in prometheus.firing() else None, "end of the other alert")


def test_prometheus_holds_the_designs_series_after_a_run_that_sigterm_ended(
    prometheus: Monitored, tmp_path: Path, year: Path
) -> None:
    with sandbox_runner(tmp_path, data=year) as runner:
        words = settings(metrics__pushgateway__url=prometheus.pushgateway, metrics__pushgateway__job="ended")
        assert runner.run("run", "activities", *words).code == 0
        _end_by_sigterm(runner, words)
    prometheus.scraped_anew("ended", 143)
    prometheus.holds_the_design("ended")


def _end_by_sigterm(runner: Runner, words: list[str]) -> None:
    runner.fault(kind="job_stalls")
    with runner.start("run", "health", *words) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"sync.progress"' in line)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)
    assert process.returncode == 143
