"""What a command shows and leaves behind: listeners while it works; metrics, report and termination line at its end."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.clock import Clock, Deadline
from runner.errors import SecretError
from runner.events import events
from runner.events.observer import Deferred, Listener, Observer
from runner.events.redaction import RedactedStream, Redactor, SturdyStream
from runner.external import redacting_with
from runner.hardening import seal_process
from runner.models import RunResult
from runner.outputs.log import configure_logging
from runner.outputs.sending import Emit, begun, own_instance
from runner.secrets.reader import SecretReader
from runner.settings import LogSettings, MetricsSettings, Settings

LEAST_SECONDS = 0.1  # that what goes over the network at the end gets, when the run's deadline has passed


@dataclass(slots=True)
class Outputs:
    """The listeners of one run. `learn` adds a secret to what both output streams hide. `deadline` bounds its end too.

    `stdout` and `stderr` are these streams for text whose values were cleaned already.
    """

    observer: Observer
    redactor: Redactor
    run_id: str
    stdout: Any
    stderr: Any
    deadline: Deadline
    progress: Any = None
    metrics: Any = None
    timeline: Any = None
    notifier: Any = None
    push_password: str | None = None
    later: list[Callable[[], object]] = field(default_factory=list)
    otlp_headers: dict[str, str] = field(default_factory=dict)
    closers: list[Callable[[], object]] = field(default_factory=list)

    def load(self) -> None:
        """Load what the listeners need and the first request does not: to be called while its answer is awaited."""
        later, self.later = self.later, []
        for load in later:
            load()

    def add_secret(self, secret: str) -> None:
        """Hide `secret` from now on, in every form it may be written."""
        self.redactor.add(secret)

    def finish(self, result: RunResult, settings: Settings) -> None:
        """Metrics, notifications, reports, termination line; a failure of one is logged and changes nothing else.

        What goes over the network runs side by side: after a SIGTERM there are few seconds.
        """
        from runner.outputs.report import build_report

        self.load()
        if self.progress is not None:
            self.progress.stop()  # what comes now may go to the same terminal
        report = build_report(result, self.redactor.redact)
        notifier = self.notifier
        if notifier is not None:
            self._try("notification", lambda: notifier.ended(report, self._within(settings.notify.budget)))
        if self.metrics is not None:
            self._emit_metrics(result, settings)
        self._write_reports(report, settings)
        if notifier is not None:
            for problem in notifier.wait():
                self.observer.emit(events.EmitFailed("notification", problem))

    def _emit_metrics(self, result: RunResult, settings: Settings) -> None:
        metrics, made = settings.metrics, self.metrics.load()
        self._try("metrics", lambda: made.finish(result))
        sending = list(self._begun(result, metrics))
        if metrics.textfile:
            path = metrics.textfile
            self._try("textfile", lambda: made.write_textfile(path))
        for target, wait in sending:
            self._try(target, wait)

    def _begun(self, result: RunResult, metrics: MetricsSettings) -> Iterator[tuple[str, Emit]]:
        """Each way over the network, on its way already."""
        made = self.metrics.load()
        gateway = own_instance(metrics.pushgateway, result.shard)
        otlp = own_instance(metrics.otlp, result.shard)
        if gateway.url:
            from runner.outputs.pushgateway import push

            current = [(one.account, one.sync_type) for one in result.results]
            yield (
                "pushgateway",
                begun(
                    gateway.url, self._within(gateway.timeout), lambda: push(made, gateway, current, self.push_password)
                ),
            )
        if otlp.endpoint:
            from runner.outputs.otlp import export

            moments = result.started_at, result.ended_at
            seconds = self._within(otlp.timeout)
            yield "otlp", begun(otlp.endpoint, seconds, lambda: export(made, otlp, self.otlp_headers, *moments))

    def _within(self, seconds: float) -> float:
        """So many seconds, or what the run's deadline leaves of them."""
        return min(seconds, max(LEAST_SECONDS, self.deadline.remaining))

    def _write_reports(self, report: dict[str, Any], settings: Settings) -> None:
        from runner.outputs.report import termination_line, write_report, write_termination

        wanted = settings.report
        file, junit, html = wanted.file, wanted.junit, wanted.html
        if file:
            self._try("report", lambda: write_report(report, file, self.stdout))
        if junit:
            self._try("junit", lambda: _write_junit(report, junit))
        if html:
            self._try("html", lambda: self._write_page(report, html))
        if wanted.github != "never":
            from runner.outputs import github

            if github.wanted(wanted.github, os.environ):
                self._try("github", lambda: github.write(report, os.environ, self.stderr))
        log = wanted.termination_log
        if log:
            self._try("termination log", lambda: write_termination(log, termination_line(report)))

    def _write_page(self, report: dict[str, Any], path: Path) -> str | None:
        from runner.outputs.html import page
        from runner.outputs.report import write_whole

        return write_whole(path, page(report, self.timeline.redacted(self.redactor.redact)))

    def _try(self, target: str, emit: Emit) -> None:
        """Emit, and log what went wrong. Even a defect there must not change how the run ends."""
        try:
            problem = emit()
        except Exception as error:  # noqa: BLE001
            problem = f"unexpected {type(error).__name__}: a defect of the runner"
        if problem:
            self.observer.emit(events.EmitFailed(target, problem))


def _write_junit(report: dict[str, Any], path: Path) -> str | None:
    from runner.outputs.junit import junit
    from runner.outputs.report import write_whole

    return write_whole(path, junit(report))


@contextmanager
def open_outputs(settings: Settings, clock: Clock, *, with_metrics: bool = False) -> Iterator[Outputs]:
    """Set up logs, bars, metrics and the redactor; take all down at the end."""
    seal_process()
    redactor = Redactor()
    plain = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = RedactedStream(plain[0], redactor), RedactedStream(plain[1], redactor)
    run_id = str(uuid.uuid4())
    listeners: list[Listener] = []
    observer = Observer(clock, listeners, {"run_id": run_id})
    made = Outputs(observer, redactor, run_id, SturdyStream(plain[0]), SturdyStream(plain[1]), Deadline(clock))
    try:
        with redacting_with(redactor.redact):
            _listen(made, listeners, settings, with_metrics=with_metrics)
            yield made
    finally:
        made.load()
        for close in reversed(made.closers):
            close()
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = plain


def _listen(made: Outputs, listeners: list[Listener], settings: Settings, *, with_metrics: bool) -> None:
    progress = None
    if with_metrics and _bars_wanted(settings.log):
        from runner.outputs.progress import ProgressListener

        progress = made.progress = ProgressListener(made.stderr, made.observer.clock.time)
    write = progress.write if progress else None
    log = configure_logging(settings.log, made.stderr, redact=made.redactor.redact, write=write, hold=with_metrics)
    made.later.append(log.load)
    listeners.append(log)
    if progress:
        listeners.append(progress)
        progress.start()
        made.closers.append(progress.stop)
    if with_metrics:
        _listen_for_the_end(made, listeners, settings)


def _bars_wanted(log: LogSettings) -> bool:
    if log.progress == "auto":
        return log.format != "json" and sys.stderr.isatty()
    return log.progress == "always"


def _listen_for_the_end(made: Outputs, listeners: list[Listener], settings: Settings) -> None:
    """What a run leaves behind: metrics, timeline, notifications."""
    metrics = settings.metrics
    if metrics.listen or metrics.textfile or metrics.pushgateway.url or metrics.otlp.endpoint:
        from runner.outputs.metrics import MetricsListener

        made.metrics = Deferred(MetricsListener)
        listeners.append(made.metrics)
        made.later.append(lambda: _serve(made, metrics.listen))
    if settings.report.html:
        from runner.outputs.timeline import Timeline

        made.timeline = Timeline()
        listeners.append(made.timeline)
    made.push_password = _secret(made, metrics.pushgateway.password_file)
    if metrics.otlp.endpoint:
        made.otlp_headers = _headers(made, metrics.otlp.headers_file)
    ping, hook = settings.notify.ping, settings.notify.webhook
    ping_url = _secret(made, ping.url_file) or ping.url
    webhook_url = _secret(made, hook.url_file) or hook.url
    if ping_url or webhook_url:
        from runner.outputs.notifications import Notifier

        made.notifier = Notifier(settings.notify, made.run_id, ping_url=ping_url, webhook_url=webhook_url)
        made.notifier.started()


def _serve(made: Outputs, listen: str | None) -> None:
    """The metrics endpoint, where one is wanted."""
    metrics = made.metrics.load()
    if not listen:
        return
    closer, problem = metrics.serve(listen)
    if problem:
        made.observer.emit(events.EmitFailed("metrics endpoint", problem))
    else:
        made.closers.append(closer)


def _headers(made: Outputs, path: Path | None) -> dict[str, str]:
    """The headers in the secret file, their values hidden from now on; none where it is unfit."""
    from runner.outputs.otlp import headers_of

    text = _secret(made, path)
    try:
        found = headers_of(text or "")
    except ValueError as error:
        made.observer.emit(events.EmitFailed(path.name if path else "", str(error)))
        return {}
    for value in found.values():
        made.add_secret(value)
        made.add_secret(value.split(" ")[-1])  # the token alone, without `Bearer`
    return found


def _secret(made: Outputs, path: Path | None) -> str | None:
    """The secret in the file, hidden from now on; None where it is unfit: the syncs matter more than who is told."""
    if path is None:
        return None
    reader = SecretReader(
        path.parent,
        environment={},
        warn=lambda name, warning: made.observer.emit(events.SecretWarning(name, warning)),
    )
    try:
        secret = reader.require(path.name)
    except SecretError as error:
        made.observer.emit(events.EmitFailed(path.name, str(error)))
        return None
    made.add_secret(secret)
    return secret
