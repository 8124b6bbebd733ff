"""Log lines: their events and fields are those of the reference; ids go along to the API."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from runner.events.events import ALL
from tests.integration.outputs.conftest import Runner, settings
from tools import event_reference as reference

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_what_the_code_says() -> None:
    assert (DOCS / "events.md").read_text() == reference.markdown(), "run `make docs`"
    assert json.loads((DOCS / "events.schema.json").read_text()) == reference.schema(), "run `make docs`"
    for kind in ALL:
        assert f"## `{kind.name}`" in reference.markdown()


def test_every_request_carries_the_runs_id_and_a_trace_that_is_well_formed(runner: Runner) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    runner.environment["TRACEPARENT"] = trace
    done = runner.run("run", "health")
    ids = {line["run_id"] for line in done.lines}
    seen = list(runner.server.sandbox.record)
    assert len(seen) >= 3 and len(ids) == 1
    assert {request.get("x-request-id") for request in seen} == ids
    assert {request.get("traceparent") for request in seen} == {trace}


@pytest.mark.parametrize("trace", ["", "01-x", "00-" + 32 * "0" + "-00f067aa0ba902b7-01", "00-é", "nonsense"])
def test_a_malformed_trace_is_not_passed_on(runner: Runner, trace: str) -> None:
    runner.environment["TRACEPARENT"] = trace
    assert runner.run("run", "health").code == 0
    assert all("traceparent" not in request for request in runner.server.sandbox.record)


def test_progress_is_logged_by_step_and_by_time(runner: Runner) -> None:
    words = ["run", "health", *settings(poll__min="20ms", poll__max="20ms", log__progress_step=25)]
    runner.server.sandbox.jobs._seconds = 1.0
    shown = [line["progress"] for line in runner.run(*words).events("sync.progress") if line["status"] == "running"]
    assert 2 <= len(shown) <= 4
    assert all(later - earlier >= 25 for earlier, later in pairwise(shown))
    runner.fault(kind="job_stalls", sync_type="activities")
    words = ["run", "activities", *settings(poll__max="20ms", log__progress_every="200ms", deadline__sync="1500ms")]
    stalled = [line for line in runner.run(*words).events("sync.progress") if line["status"] == "running"]
    assert 4 <= len(stalled) <= 10, json.dumps(stalled)  # one each 200 ms, not one each look
