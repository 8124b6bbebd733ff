"""Exports the run's metrics once as OTLP (protobuf over HTTP), for collectors without a Pushgateway.

The wire format is opentelemetry-proto's, from the extra `otlp`; the metrics are those of `metrics.py`, under the same names.
Spec: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""
# Decision 0041.

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from runner import __version__
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.metrics import MetricsListener
from runner.outputs.sending import Sender, SendFailed, own_instance, until_taken, worth_repeating

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATH = "/v1/metrics"
NEEDS = "needs opentelemetry-proto: pip install 'sync-runner[otlp]'"
_PROTOBUF = "application/x-protobuf"
_NANOSECONDS = 1_000_000_000


def headers_of(text: str) -> dict[str, str]:
    """Parses headers from `name=value,name=value`, as in OTEL_EXPORTER_OTLP_HEADERS: values are percent-encoded.

    Raises ValueError that names the pair by its number, never its text: it may be a secret.
    """
    from urllib.parse import unquote

    found = {}
    for number, pair in enumerate(text.split(",") if text else (), 1):
        name, equals, value = (part.strip() for part in pair.partition("="))
        header = unquote(value)
        if not equals or not name.replace("-", "").isalnum() or not header.isascii() or not header.isprintable():
            raise ValueError(f"pair {number} is not a header; write name=value,name=value with values percent-encoded")
        found[name] = header
    return found


class Otlp(Output):
    """`metrics.otlp`: one export at the end."""

    name: ClassVar[str] = "otlp"
    checked: ClassVar[str] = "an export without metrics was accepted"
    uses_metrics: ClassVar[bool] = True

    def __init__(self, context: OutputContext) -> None:
        """Reads no secret yet."""
        super().__init__(context)
        self._headers: dict[str, str] = {}

    def open(self) -> None:
        """Reads the headers in the secret file; their values are redacted from now on."""
        path = self.context.settings.metrics.otlp.headers_file
        text = self.context.secret(path)
        try:
            self._headers = headers_of(text or "")
        except ValueError as error:
            self.context.failed(path.name if path else self.name, str(error))
        for value in self._headers.values():
            self.context.redactor.add(value)
            self.context.redactor.add(value.split(" ")[-1])  # the token alone, without `Bearer`

    def load(self) -> None:
        """Loads the metrics modules."""
        self.context.metrics.load()

    @property
    def where(self) -> str:
        """The collector."""
        return self.context.settings.metrics.otlp.endpoint or ""

    @property
    def push_seconds(self) -> float | None:
        """`metrics.otlp.timeout`."""
        return self.context.settings.metrics.otlp.timeout

    def check(self, seconds: float) -> str | None:
        """Checks whether an export without metrics, which has no bytes, is accepted."""
        self.open()
        problem = self._sent(lambda sender: until_taken(seconds, partial(_export, sender, b"")))
        return problem and f"{self.where}: {problem}"

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Exports all metrics of the run."""
        settings, run = own_instance(self.context.settings.metrics.otlp, ended.result.shard), ended.result
        try:
            body = request(
                self.context.metrics.load(), settings.instance, run.started_at, run.ended_at
            ).SerializeToString()
        except ImportError:
            return NEEDS
        return self._sent(lambda sender: until_taken(seconds, partial(_export, sender, body)))

    def _sent(self, send: Callable[[Sender], str | None]) -> str | None:
        try:
            with Sender(self.where, self.context.settings.metrics.otlp.ca_file, headers=self._headers) as sender:
                return send(sender)
        except SendFailed as error:
            return str(error)
        except ImportError:
            return NEEDS


def _export(sender: Sender, request: bytes, seconds: float) -> str | None:
    """One try: returns what the collector rejected, or None. Raises SendFailed."""
    status, answer = sender.send("POST", PATH, seconds, content=request, content_type=_PROTOBUF)
    if worth_repeating(status):
        raise SendFailed(f"the collector answered {status}")
    return _problem(status, answer)


def _problem(status: int, body: bytes) -> str | None:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    if status >= 300:
        return f"the collector answered {status}"
    try:
        rejected = ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points
    except DecodeError:
        return None  # accepted, by a collector with another form of response
    return f"the collector rejected {rejected} values" if rejected else None


def request(
    metrics: MetricsListener, instance: str | None, started_at: float, ended_at: float
) -> "ExportMetricsServiceRequest":
    """Builds the export: one resource, one scope, and each of the run's metrics. Raises ImportError without the extra."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics, ScopeMetrics
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    about = {"service.name": "sync-runner", "service.version": __version__}
    resource = Resource(attributes=_attributes({**about, **({"service.instance.id": instance} if instance else {})}))
    moments: dict[str, Any] = {
        "start_time_unix_nano": int(started_at * _NANOSECONDS),
        "time_unix_nano": int(ended_at * _NANOSECONDS),
    }
    families = [family for registry in (metrics.of_run, metrics.of_success) for family in registry.collect()]
    scope = ScopeMetrics(
        scope=InstrumentationScope(name="sync-runner", version=__version__),
        metrics=[_metric(family, moments) for family in families if family.samples],
    )
    return ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scope])])


def _attributes(labels: dict[str, str]) -> "list[KeyValue]":
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in labels.items()]


def _metric(family: Any, moments: dict[str, Any]) -> Any:
    """Converts one of prometheus_client's metrics. A counter is a sum since the start of the run: each run counts from 0."""
    from opentelemetry.proto.metrics.v1 import metrics_pb2 as wire

    cumulative = wire.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    name = family.name + ("_total" if family.type == "counter" else "")
    if family.type == "histogram":
        points = list(_histograms(family.samples, moments))
        data: dict[str, Any] = {"histogram": wire.Histogram(data_points=points, aggregation_temporality=cumulative)}
        return wire.Metric(name=name, description=family.documentation, **data)
    numbers = [
        wire.NumberDataPoint(attributes=_attributes(sample.labels), as_double=sample.value, **moments)
        for sample in family.samples
    ]
    if family.type == "counter":
        data = {"sum": wire.Sum(data_points=numbers, aggregation_temporality=cumulative, is_monotonic=True)}
    else:
        data = {"gauge": wire.Gauge(data_points=numbers)}
    return wire.Metric(name=name, description=family.documentation, **data)


def _histograms(samples: Iterable[Any], moments: dict[str, Any]) -> Iterator[Any]:
    """Converts buckets: Prometheus' count everything below their bound, OTLP's what lies between two bounds."""
    from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint

    for labels, group in groupby(samples, key=lambda one: {k: v for k, v in one.labels.items() if k != "le"}):
        rows = list(group)
        below = [(float(row.labels["le"]), row.value) for row in rows if "le" in row.labels]
        counts = [int(count - before) for (_, count), before in zip(below, [0, *(c for _, c in below)], strict=False)]
        yield HistogramDataPoint(
            attributes=_attributes(labels),
            bucket_counts=counts,
            explicit_bounds=[bound for bound, _count in below[:-1]],
            count=int(below[-1][1]),
            sum=next(row.value for row in rows if row.name.endswith("_sum")),
            **moments,
        )
