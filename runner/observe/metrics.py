"""Prometheus metrics of the run and their three ways out: an endpoint while it lasts, a push, a textfile at its end."""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runner import __version__
from runner.models import Outcome, RunResult
from runner.observe import events
from runner.observe.interface import Record
from runner.settings import PushgatewaySettings

if TYPE_CHECKING:
    pass

LAST_SUCCESS = "sync_runner_last_success_timestamp_seconds"
_SYNC = ("account", "sync_type")


class MetricsListener:
    """Collects the design's metrics from events and from the run's result, in a registry of its own."""

    def __init__(self) -> None:
        """All metrics, still empty."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        # Kept apart: it must survive runs in which a sync failed, so it is pushed and merged on its own.
        self._success_registry: CollectorRegistry = CollectorRegistry()

        def counter(name: str, about: str, labels: Iterable[str]) -> Any:
            return Counter(f"sync_runner_{name}", about, tuple(labels), registry=registry)

        def gauge(name: str, about: str, labels: Iterable[str] = ()) -> Any:
            return Gauge(f"sync_runner_{name}", about, tuple(labels), registry=registry)

        self._last_run = gauge("last_run_timestamp_seconds", "When the last run ended, in Unix seconds.")
        self._exit_code = gauge("last_run_exit_code", "Exit code of the last run.")
        self._run_duration = gauge("run_duration_seconds", "How long the last run took.")
        self._duration = gauge("sync_duration_seconds", "How long the last sync took.", _SYNC)
        self._processed = gauge("sync_items_processed", "Items that the last sync processed.", _SYNC)
        self._total = gauge("sync_items_total", "Items that the last sync had to process.", _SYNC)
        self._skew = gauge("clock_skew_seconds", "The API's clock less ours.", ("account",))
        build = gauge("build_info", "The runner's version; always 1.", ("version",))
        build.labels(__version__).set(1)
        self._success = Gauge(
            LAST_SUCCESS, "When the sync last completed, in Unix seconds.", _SYNC, registry=self._success_registry
        )
        self._syncs = counter("syncs", "Syncs of this run by result.", (*_SYNC, "result"))
        self._logins = counter("logins", "Logins and refreshes of this run.", ("account", "method", "result"))
        self._requests = counter("http_requests", "HTTP requests of this run.", ("endpoint", "code"))
        self._retries = counter("retries", "Requests sent again in this run.", ("endpoint", "reason"))
        self._request_duration = Histogram(
            "sync_runner_http_request_duration_seconds",
            "Length of the HTTP requests of this run.",
            ("endpoint",),
            registry=registry,
        )

    def __call__(self, record: Record) -> None:
        """Count the event."""
        account = record.context.get("account", "")
        match record.event:
            case events.RequestDone(endpoint=endpoint, code=code, duration_seconds=seconds):
                self._requests.labels(endpoint, code).inc()
                self._request_duration.labels(endpoint).observe(seconds)
            case events.RetryScheduled(endpoint=endpoint, reason=reason):
                self._retries.labels(endpoint, reason).inc()
            case events.LoggedIn(method=method):
                self._logins.labels(account, method, "success").inc()
            case events.LoginFailed(method=method):
                self._logins.labels(account, method, "failure").inc()
            case events.ClockSkew(skew_seconds=skew):
                self._skew.labels(account).set(skew)

    def finish(self, run: RunResult) -> None:
        """Set what the run's result tells."""
        self._last_run.set(run.ended_at)
        self._exit_code.set(run.exit_code)
        self._run_duration.set(run.ended_at - run.started_at)
        for result in run.results:
            labels = (result.account, result.sync_type)
            self._syncs.labels(*labels, result.outcome.value).inc()
            self._duration.labels(*labels).set(result.duration)
            if result.job and result.job.processed_items is not None:
                self._processed.labels(*labels).set(result.job.processed_items)
            if result.job and result.job.total_items is not None:
                self._total.labels(*labels).set(result.job.total_items)
            if result.outcome is Outcome.COMPLETED:
                self._success.labels(*labels).set(run.ended_at)

    def text(self, older: str = "") -> str:
        """All metrics in Prometheus's text format; last successes in `older` that this run did not renew are kept."""
        from prometheus_client import generate_latest

        self._take_older(older)
        return (generate_latest(self.registry) + generate_latest(self._success_registry)).decode()

    def _take_older(self, older: str) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        renewed = {tuple(sample.labels[name] for name in _SYNC) for sample in self._successes()}
        try:
            families = [family for family in text_string_to_metric_families(older) if family.name == LAST_SUCCESS]
        except (ValueError, KeyError, IndexError):
            return  # not a metrics file: it is about to be replaced by one
        for family in families:
            for sample in family.samples:
                labels = tuple(sample.labels.get(name, "") for name in _SYNC)
                if labels not in renewed:
                    self._success.labels(*labels).set(sample.value)

    def _successes(self) -> list[Any]:
        return [sample for family in self._success_registry.collect() for sample in family.samples]

    def write_textfile(self, path: Path) -> str | None:
        """Write a node-exporter textfile whole. Returns what went wrong, or None."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            older = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            temporary.write_text(self.text(older), encoding="utf-8")
            temporary.chmod(0o644)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            return f"{path}: can not be written ({error.strerror})"
        return None

    def push(self, settings: PushgatewaySettings) -> str | None:
        """Push to the Pushgateway within the set time. Returns what went wrong, or None.

        The run's metrics replace its group (PUT). Each last success has a group of its own, so that a run in which
        that sync failed leaves it as it was.
        """
        problem: list[str | None] = ["no answer within the time"]
        # A daemon thread bounds the whole push, name look-up and a dripping answer included.
        worker = threading.Thread(target=lambda: problem.__setitem__(0, self._push(settings)), daemon=True)
        worker.start()
        worker.join(settings.timeout)
        return problem[0] and f"{settings.url}: {problem[0]}"

    def _push(self, settings: PushgatewaySettings) -> str | None:
        import httpx
        from prometheus_client import generate_latest

        group = _group({"job": settings.job, **({"instance": settings.instance} if settings.instance else {})})
        try:
            with httpx.Client(base_url=settings.url or "", timeout=settings.timeout) as client:
                bodies = [(group, generate_latest(self.registry))]
                bodies += [(group + _group(dict(one.labels)), _one_success(one)) for one in self._successes()]
                for path, body in bodies:
                    answer = client.put(f"/metrics{path}", content=body, headers={"Content-Type": "text/plain"})
                    if answer.status_code >= 300:
                        return f"the Pushgateway answered {answer.status_code}"
        except httpx.HTTPError as error:
            return f"can not be reached ({type(error).__name__})"
        return None

    def serve(self, listen: str) -> tuple[Callable[[], None], str | None]:
        """Serve /metrics at `host:port` on a thread. Returns what stops it, and what went wrong or None."""
        from prometheus_client import start_http_server

        host, _, port = listen.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]") or "0.0.0.0", registry=_Both(self))
        except (OSError, OverflowError) as error:
            return lambda: None, f"{listen}: can not listen ({getattr(error, 'strerror', None) or 'no such port'})"

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join(1.0)

        return close, None


class _Both:
    """Both registries as one, for the endpoint."""

    def __init__(self, metrics: MetricsListener) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        """Every metric family."""
        yield from self._metrics.registry.collect()
        yield from self._metrics._success_registry.collect()


def _group(labels: dict[str, str]) -> str:
    """A Pushgateway grouping path; values with a slash or empty ones go as Base64."""
    import base64

    parts = []
    for name, value in labels.items():
        if not value or "/" in value:
            parts.append(f"/{name}@base64/{base64.urlsafe_b64encode(value.encode()).decode() or '='}")
        else:
            parts.append(f"/{name}/{quote(value, safe='')}")
    return "".join(parts)


def _one_success(sample: Any) -> bytes:
    return f"# TYPE {LAST_SUCCESS} gauge\n{LAST_SUCCESS} {sample.value!r}\n".encode()
