"""Log lines: their events and fields are those of the reference; ids go along to the API."""

import json
from pathlib import Path

import pytest

from runner.events.events import ALL
from tests.integration.outputs.conftest import Runner
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
