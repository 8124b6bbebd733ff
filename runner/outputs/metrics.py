"""Collects the run's Prometheus metrics from events. Other modules export them (endpoint, textfile, pushes)."""

import math
import time
from collections.abc import Iterable
from typing import Any

from runner import __version__
from runner.events import events
from runner.events.observer import Record
from runner.models import Outcome, RunResult

LAST_SUCCESS = "sync_runner_last_success_timestamp_seconds"
LAST_SUCCESS_HELP = "When the sync last completed, in Unix seconds."
RETRY_REASONS = ("connect", "lost_answer", "rate_limited", "unavailable", "server_error")  # runner.http.retry.reason
_SYNC = ("account", "sync_type")


class MetricsListener:
    """Collects the metrics of the design from events and from the run's result, in separate registries."""

    def __init__(self) -> None:
        """Creates all metrics, without values."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        run = self.of_run = CollectorRegistry()
        # Separate: a last success must outlive runs in which the sync failed, so it is pushed and merged separately.
        self.of_success = CollectorRegistry()

        def counter(name: str, about: str, labels: Iterable[str]) -> Any:
            return Counter(f"sync_runner_{name}", about, tuple(labels), registry=run)

        def gauge(name: str, about: str, labels: Iterable[str] = ()) -> Any:
            return Gauge(f"sync_runner_{name}", about, tuple(labels), registry=run)

        self._duration = gauge("sync_duration_seconds", "Duration of the syncs of this type in the last run.", _SYNC)
        self._processed = gauge("sync_items_processed", "Items that the last run's syncs processed.", _SYNC)
        # A counter by its name: https://prometheus.io/docs/practices/naming/ keeps `_total` for them.
        self._total = counter("sync_items", "Items that the last run's syncs had to process.", _SYNC)
        self._skew = gauge("clock_skew_seconds", "The API's clock minus ours; 0 within 2 s.", ("account",))
        self._wanted = gauge(
            "code_wanted", "Whether a login currently waits for a person's one-time code.", ("account",)
        )
        ends = "When the session ends and a person must log in, in Unix seconds."
        self._session_end = gauge("session_end_timestamp_seconds", ends, ("account",))
        gauge("build_info", "The runner's version; always 1.", ("version",)).labels(__version__).set(1)
        self._success = Gauge(LAST_SUCCESS, LAST_SUCCESS_HELP, _SYNC, registry=self.of_success)
        self._syncs = counter("syncs", "Syncs of this run by result.", (*_SYNC, "result"))
        self._logins = counter("logins", "Sessions of this run, by method.", ("account", "method", "result"))
        self._requests = counter("http_requests", "HTTP requests of this run.", ("endpoint", "code"))
        self._retries = counter("retries", "Retried requests of this run.", ("endpoint", "reason"))
        self._request_duration = Histogram(
            "sync_runner_http_request_duration_seconds",
            "Length of the HTTP requests of this run.",
            ("endpoint",),
            registry=run,
        )
        self._endpoints: set[str] = set()
        self._skewed: set[str] = set()
        self._counted: set[tuple[str, str]] = set()

    def __call__(self, record: Record) -> None:
        """Counts the event."""
        account = _label(record.context.get("account", ""))
        match record.event:
            case events.RequestDone() as done:
                self._request(done)
            case events.RetryScheduled(endpoint=endpoint, reason=reason):
                self._retries.labels(endpoint, reason).inc()
            case events.SessionReused():
                self._logins.labels(account, "cached", "success").inc()
            case events.LoggedIn(method=method):
                self._logins.labels(account, method, "success").inc()
                if account not in self._skewed:
                    self._skew.labels(account).set(0.0)
            case events.LoginFailed(method=method):
                self._logins.labels(account, method, "failure").inc()
            case events.ClockSkew(skew_seconds=skew):
                self._skewed.add(account)
                self._skew.labels(account).set(skew)
            case events.SyncEnded() as end:
                self._ended(record, end)
            case _:
                self._person(record, account)

    def _person(self, record: Record, account: str) -> None:
        match record.event:
            case events.CodeWanted():
                self._wanted.labels(account).set(1)
            case events.CodeWaitEnded():
                self._wanted.labels(account).set(0)
            case events.SessionEnds(ends_in_seconds=seconds):
                self._session_end.labels(account).set(record.time + seconds)

    def _request(self, done: events.RequestDone) -> None:
        if done.endpoint not in self._endpoints:
            self._endpoints.add(done.endpoint)
            for reason in RETRY_REASONS:  # an alert needs a series that exists before its first count
                self._retries.labels(done.endpoint, reason)
        self._requests.labels(done.endpoint, done.code).inc()
        self._request_duration.labels(done.endpoint).observe(done.duration_seconds)

    def _ended(self, record: Record, end: events.SyncEnded) -> None:
        account, kind = _label(record.context.get("account", "")), _label(record.context.get("sync_type", ""))
        self._counted.add((record.context.get("account", ""), record.context.get("sync", "")))
        self._count(account, kind, end.result, end.duration_seconds)
        self._items(account, kind, end.processed_items, end.total_items)
        if end.result == Outcome.COMPLETED:
            self._success.labels(account, kind).set(record.time)

    def _count(self, account: str, kind: str, result: str, seconds: float) -> None:
        self._syncs.labels(account, kind, result).inc()
        self._duration.labels(account, kind).inc(seconds)

    def _items(self, account: str, kind: str, processed: int | None, total: int | None) -> None:
        if processed is not None:
            self._processed.labels(account, kind).inc(processed)
        if total is not None:
            self._total.labels(account, kind).inc(total)

    def finish(self, run: RunResult) -> None:
        """Sets the metrics of the run's result. They are registered here, so that no scrape sees them as 0."""
        from prometheus_client import Gauge

        for name, about, value in (
            ("last_run_timestamp_seconds", "When the last run ended, in Unix seconds.", run.ended_at),
            ("last_run_exit_code", "Exit code of the last run.", run.exit_code),
            ("run_duration_seconds", "Duration of the last run.", run.ended_at - run.started_at),
        ):
            Gauge(f"sync_runner_{name}", about, registry=self.of_run).set(value)
        for result in run.results:
            if (result.account, result.name) not in self._counted:  # a sync that never started
                self._count(_label(result.account), _label(result.sync_type), result.outcome.value, result.duration)

    def text(self, older: str = "") -> str:
        """Returns all metrics in Prometheus's text format; keeps last successes in `older` that this run did not renew."""
        from prometheus_client import generate_latest

        renewed = {tuple(labels[name] for name in _SYNC) for labels, _time in self.successes()}
        for labels, value in successes_in(older):
            place = tuple(labels.get(name, "") for name in _SYNC)
            if place not in renewed and believable(value, time.time()):
                self._success.labels(*place).set(value)
        return (generate_latest(self.of_run) + generate_latest(self.of_success)).decode()

    def successes(self) -> list[tuple[dict[str, str], float]]:
        """Returns the labels and Unix seconds of each last success."""
        families = self.of_success.collect()
        return [(dict(sample.labels), sample.value) for family in families for sample in family.samples]


def _label(text: str) -> str:
    """Returns text that UTF-8 can encode: the name of an account's folder may contain other bytes."""
    return text.encode(errors="backslashreplace").decode()


def believable(at: float, now: float) -> bool:
    """Whether a last success (Unix seconds) is plausible. A NaN, or a future time, would silence its alert for ever.

    A minute in the future is another machine's clock.
    """
    return math.isfinite(at) and 0 <= at <= now + 60


def successes_in(text: str) -> list[tuple[dict[str, str], float]]:
    """Parses the labels and Unix seconds of each last success from metrics as text; none from other text."""
    from prometheus_client.parser import text_string_to_metric_families

    ours = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(LAST_SUCCESS))  # quick in a long text
    try:
        families = list(text_string_to_metric_families(ours))
    except (ValueError, KeyError, IndexError):
        return []
    return [(dict(sample.labels), sample.value) for family in families for sample in family.samples]
