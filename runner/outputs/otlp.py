"""The run's metrics as one OTLP export (protobuf over HTTP), for who has a collector and no Pushgateway.

The wire format is opentelemetry-proto's, from the extra `otlp`; the metrics are those of `metrics.py`, under the same names.
Spec: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from runner import __version__
from runner.outputs.metrics import MetricsListener
from runner.outputs.sending import trusted
from runner.settings import OtlpSettings

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATH = "/v1/metrics"
_NANOSECONDS = 1_000_000_000


def headers_of(text: str) -> dict[str, str]:
    """Headers from `name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS has them: values are percent-encoded.

    Raises ValueError that names the pair by its number, never its text: it may be a secret.
    """
    from urllib.parse import unquote

    found = {}
    for number, pair in enumerate(text.split(",") if text else (), 1):
        name, equals, value = (part.strip() for part in pair.partition("="))
        header = unquote(value)
        if not equals or not name.replace("-", "").isalnum() or not header.isascii() or not header.isprintable():
            raise ValueError(f"pair {number} is no header; write name=value,name=value with values percent-encoded")
        found[name] = header
    return found


def export(
    metrics: MetricsListener, settings: OtlpSettings, headers: dict[str, str], started_at: float, ended_at: float
) -> str | None:
    """Send all metrics of a run that lasted from `started_at` to `ended_at` (Unix seconds). Returns the fault, or None."""
    import httpx

    try:
        body = request(metrics, settings.instance, started_at, ended_at).SerializeToString()
    except ImportError:
        return "needs opentelemetry-proto: pip install 'sync-runner[otlp]'"
    try:
        url = f"{settings.endpoint}{PATH}"
        answer = httpx.post(
            url,
            content=body,
            headers={**headers, "Content-Type": "application/x-protobuf"},
            timeout=None,  # the whole is bounded where it is begun
            verify=trusted(url, settings.ca_file),
        )
    except httpx.HTTPError as error:
        return f"can not be reached ({type(error).__name__})"
    except OSError as error:
        return f"ca_file can not be used ({error.strerror or 'not a PEM bundle'})"
    return _problem(answer.status_code, answer.content)


def _problem(status: int, body: bytes) -> str | None:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    if status >= 300:
        return f"the collector answered {status}"
    try:
        rejected = ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points
    except DecodeError:
        return None  # taken, by a collector that answers in its own way
    return f"the collector rejected {rejected} values" if rejected else None


def request(
    metrics: MetricsListener, instance: str | None, started_at: float, ended_at: float
) -> "ExportMetricsServiceRequest":
    """The export: one resource, one scope, a metric for each of the run's. Raises ImportError without the extra."""
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
    """One of prometheus_client's metrics. A counter is a sum since the run began: each run counts from 0."""
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
    """Prometheus' buckets count all below their bound, OTLP's what lies between two."""
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
