"""The log lines fit examples/loki/promtail.yml: what its stages do with each line of real runs."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jmespath
import yaml

from tests.integration.outputs.conftest import sandbox_runner

ROOT = Path(__file__).parents[3]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "loki" / "promtail.yml").read_text())
[SCRAPE] = CONFIG["scrape_configs"]
STAGES: dict[str, Any] = {name: stage for one in SCRAPE["pipeline_stages"] for name, stage in one.items()}
PAGE = (ROOT / "docs" / "observability.md").read_text()


def through(line: str) -> tuple[dict[str, str], dict[str, str], datetime]:
    """The labels, the structured metadata and the time that Promtail's stages take out of a line."""
    data = json.loads(line)
    extracted = {name: jmespath.search(path, data) for name, path in STAGES["json"]["expressions"].items()}
    labels = {name: extracted[name] for name in STAGES["labels"]}
    metadata = {name: extracted[name] for name in STAGES["structured_metadata"] if extracted[name] is not None}
    assert STAGES["timestamp"]["format"] == "RFC3339Nano"
    return labels, metadata, datetime.fromisoformat(extracted[STAGES["timestamp"]["source"]])


def test_each_line_of_good_and_failed_runs_has_its_labels_and_its_time(tmp_path: Path, year: Path) -> None:
    with sandbox_runner(tmp_path, data=year) as runner:
        good = runner.run("run", "health", "activities")
        runner.fault(kind="job_fails")
        failed = runner.run("run", "--log-level", "debug", "health", "--force-full")
    assert (good.code, failed.code) == (0, 4)
    lines = [through(line) for line in (good.err + failed.err).splitlines()]
    times = [time for _labels, _metadata, time in lines]
    assert all(time.utcoffset() is not None for time in times)
    assert {labels["level"] for labels, *_ in lines} <= {"debug", "info", "warning", "error"}
    assert all(labels["event"] for labels, *_ in lines)
    assert len({metadata["run_id"] for _labels, metadata, _time in lines}) == 2


def test_no_label_has_many_values_and_the_queries_use_what_is_there() -> None:
    assert set(STAGES["labels"]) == {"level", "event"}
    assert not {"run_id", "job_id", "account"} & set(STAGES["labels"])
    assert 'job="sync-runner"' in PAGE and SCRAPE["static_configs"][0]["labels"]["job"] == "sync-runner"
    assert 'event="session.failed"' in PAGE
