"""What a command shows and leaves behind: listeners while it works; metrics, report and termination line at its end."""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from runner.clock import Clock
from runner.models import RunResult
from runner.observe import events
from runner.observe.interface import Listener, Observer
from runner.observe.logs import configure_logging
from runner.observe.redact import RedactedStream, Redactor
from runner.settings import Settings


@dataclass(slots=True)
class Outlets:
    """The listeners of one run. `learn` adds a secret to what both output streams hide."""

    observer: Observer
    redactor: Redactor
    run_id: str
    metrics: Any = None
    closers: list[Callable[[], object]] = field(default_factory=list)

    def learn(self, secret: str) -> None:
        """Hide `secret` from now on, in every form it may be written."""
        self.redactor.add(secret)

    def finish(self, result: RunResult, settings: Settings) -> None:
        """Metrics, report and termination line; a failure of one is logged and changes nothing else."""
        from runner.observe import report

        if self.metrics is not None:
            self.metrics.finish(result)
            self._emit_metrics(settings)
        if settings.report.file:
            self._try("report", report.write_report(report.build_report(result), settings.report.file))
        if settings.report.termination_log:
            line = report.termination_line(result)
            self._try("termination log", report.write_termination(settings.report.termination_log, line))

    def _emit_metrics(self, settings: Settings) -> None:
        metrics = settings.metrics
        if metrics.textfile:
            self._try("textfile", self.metrics.write_textfile(metrics.textfile))
        if metrics.pushgateway.url:
            self._try("pushgateway", self.metrics.push(metrics.pushgateway))

    def _try(self, target: str, problem: str | None) -> None:
        if problem:
            self.observer.emit(events.EmitFailed(target, problem))


@contextmanager
def outlets(settings: Settings, clock: Clock, *, with_metrics: bool = False) -> Iterator[Outlets]:
    """Set up logs, bars, metrics and the redactor; take all down at the end."""
    redactor = Redactor()
    plain = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = RedactedStream(plain[0], redactor), RedactedStream(plain[1], redactor)
    run_id = str(uuid.uuid4())
    listeners: list[Listener] = []
    made = Outlets(Observer(clock, listeners, {"run_id": run_id}), redactor, run_id)
    try:
        _listen(made, listeners, settings, with_metrics=with_metrics)
        yield made
    finally:
        for close in reversed(made.closers):
            close()
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = plain


def _listen(made: Outlets, listeners: list[Listener], settings: Settings, *, with_metrics: bool) -> None:
    progress = None
    wanted = settings.log.progress
    if with_metrics and (wanted == "always" or (wanted == "auto" and sys.stderr.isatty())):
        from runner.observe.progress import ProgressListener

        progress = ProgressListener(sys.stderr)
    listeners.append(
        configure_logging(
            settings.log.format,
            settings.log.level,
            sys.stderr,
            write=progress.write if progress else None,
        )
    )
    if progress:
        listeners.append(progress)
        progress.start()
        made.closers.append(progress.stop)
    if not with_metrics:
        return
    from runner.observe.metrics import MetricsListener

    made.metrics = MetricsListener()
    listeners.append(made.metrics)
    if settings.metrics.listen:
        closer, problem = made.metrics.serve(settings.metrics.listen)
        if problem:
            made.observer.emit(events.EmitFailed("metrics endpoint", problem))
        else:
            made.closers.append(closer)
