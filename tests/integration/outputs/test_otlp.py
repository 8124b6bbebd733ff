"""Metrics as OTLP: a collector that reads protobuf gets what the textfile says; nothing it does changes how a run ends."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from runner.outputs.otlp import headers_of
from tests.integration.outputs.conftest import Runner, settings
from tests.integration.outputs.test_metrics_out import silent_server
from tests.support.monitoring import DESIGN
from tests.support.ports import free_port

Series = tuple[str, frozenset[tuple[str, str]]]


class Collector:
    """Takes exports, and answers with the status and body it was given."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.taken: list[ExportMetricsServiceRequest] = []
        self.status, self.answer = 200, b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.paths.append(self.path)
                collector.headers.append(dict(self.headers))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.taken.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def exported(request: ExportMetricsServiceRequest) -> dict[Series, float]:
    """Every value in the export, with the names and labels that Prometheus has for it."""
    found: dict[Series, float] = {}
    [resource] = request.resource_metrics
    [scope] = resource.scope_metrics
    for metric in scope.metrics:
        for point in (*metric.gauge.data_points, *metric.sum.data_points):
            found[metric.name, labels(point)] = point.as_double
        for bars in metric.histogram.data_points:
            below = 0
            bounds = [*map(str, bars.explicit_bounds), "+Inf"]
            for bound, count in zip(bounds, bars.bucket_counts, strict=True):
                below += count
                found[f"{metric.name}_bucket", labels(bars) | {("le", bound)}] = below
            found[f"{metric.name}_count", labels(bars)] = bars.count
            found[f"{metric.name}_sum", labels(bars)] = bars.sum
    return found


def labels(point: Any) -> frozenset[tuple[str, str]]:
    return frozenset((one.key, one.value.string_value) for one in point.attributes)


def test_a_collector_gets_exactly_what_the_textfile_says(runner: Runner, collector: Collector, tmp_path: Path) -> None:
    file = tmp_path / "out.prom"
    words = settings(metrics__textfile=file, metrics__otlp__endpoint=collector.url, metrics__otlp__instance="one")
    done = runner.run("run", "activities", "health", *words)
    assert done.code == 0 and not done.events("emit.failed"), done.err
    [request] = collector.taken
    written = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(file.read_text())
        for sample in family.samples
    }
    assert exported(request) == written
    [resource] = request.resource_metrics
    about = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (about["service.name"], about["service.instance.id"]) == ("sync-runner", "one")
    kinds = {metric.name: metric.WhichOneof("data") for metric in resource.scope_metrics[0].metrics}
    told = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
    assert kinds == {f"sync_runner_{name}": told[kind] for name, (kind, _labels) in DESIGN.items()}
    for metric in resource.scope_metrics[0].metrics:
        if metric.WhichOneof("data") == "sum":
            assert metric.sum.is_monotonic and metric.sum.aggregation_temporality == 2  # cumulative
        points: list[Any] = [*metric.sum.data_points, *metric.gauge.data_points, *metric.histogram.data_points]
        for point in points:
            assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    assert collector.paths == ["/v1/metrics"]
    assert collector.headers[0]["Content-Type"] == "application/x-protobuf"


def test_headers_come_from_a_secret_file_and_are_told_to_nobody(
    runner: Runner, collector: Collector, tmp_path: Path
) -> None:
    file = tmp_path / "otlp_headers"
    file.touch(mode=0o600)
    file.write_text("Authorization=Bearer%20canary-otlp-token,X-Tenant=seven\n")
    words = settings(metrics__otlp__endpoint=collector.url, metrics__otlp__headers_file=file)
    collector.status = 401
    done = runner.run("run", "health", "-v", *words)
    assert done.code == 0, done.err
    assert collector.headers[0]["Authorization"] == "Bearer canary-otlp-token"
    assert collector.headers[0]["X-Tenant"] == "seven"
    assert [line["error"] for line in done.events("emit.failed")] == [f"{collector.url}: the collector answered 401"]
    assert (done.code, "canary-otlp-token" in done.out + done.err) == (0, False)
    file.write_text("canary-otlp-token")
    done = runner.run("run", "health", *words)
    [first, _refused] = done.events("emit.failed")
    assert first["target"] == "otlp_headers" and "pair 1 is not a header" in first["error"]
    assert (done.code, "canary-otlp-token" in done.err) == (0, False)


def test_a_collector_that_hangs_refuses_or_is_not_there_changes_nothing_else(
    runner: Runner, collector: Collector, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    part = ExportMetricsPartialSuccess(rejected_data_points=3, error_message="too old")
    collector.answer = ExportMetricsServiceResponse(partial_success=part).SerializeToString()
    with silent_server(b"X") as hanging:
        # Side by side with a Pushgateway that hangs too: their time-outs do not add up.
        words = {
            collector.url: ("the collector rejected 3 values", []),
            hanging: ("response within 1 s", settings(metrics__otlp__timeout="1s", metrics__pushgateway__url=hanging)),
            f"http://127.0.0.1:{free_port()}": ("(Connection refused)", settings(metrics__otlp__timeout="10s")),
        }
        for url, (fault, more) in words.items():
            endpoint = settings(metrics__otlp__endpoint=url, report__file=report)
            done = runner.run("run", "health", *endpoint, *more)
            told = {line["target"]: line["error"] for line in done.events("emit.failed")}
            assert done.code == 0 and '"exit_code": 0' in report.read_text()
            assert told["otlp"].startswith(f"{url}: ") and fault in told["otlp"]
            report.unlink()


def test_the_format_is_loaded_only_where_an_export_is_asked_for_and_its_absence_is_told(
    runner: Runner, collector: Collector
) -> None:
    """In a process of its own, with the extra's packages made unfindable."""
    script = (
        "import sys; sys.modules['opentelemetry'] = None; from runner.cli import run; code = run(sys.argv[1:]);"
        "print([name for name in sys.modules if name.startswith('google')]); sys.exit(code)"
    )
    words = ["run", "health"]
    for more, problems in (
        ([], []),
        (
            settings(metrics__otlp__endpoint=collector.url),
            ["needs opentelemetry-proto: pip install 'sync-runner[otlp]'"],
        ),
    ):
        command = [sys.executable, "-c", script, *runner.command(*words, *more)[3:]]
        done = subprocess.run(command, env=runner.env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
        assert [problem in done.stderr for problem in problems] == [True] * len(problems)
        assert ("emit.failed" in done.stderr) is bool(problems)
    assert collector.taken == []


def test_headers_are_pairs() -> None:
    assert headers_of("") == {}
    assert headers_of("A-b=c%3D%20d , e=f=g") == {"A-b": "c= d", "e": "f=g"}
    for text in ("nothing", "a b=c", "=c", "a=%00", "ok=1,", "a=%0D%0Ab: c", "a=\u00e9"):
        with pytest.raises(ValueError, match="is not a header"):
            headers_of(text)
