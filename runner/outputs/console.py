"""The readable log on a terminal, with a summary at the end of a run."""

from collections.abc import Sequence
from typing import Any, ClassVar

from runner.events import events
from runner.events.observer import Record
from runner.external import escape
from runner.outputs.interface import Ended, OutputContext
from runner.outputs.log_lines import LEVELS, Line, LogOutput, Processor


class Console(LogOutput):
    """Readable lines on standard error, and a summary at the end on a terminal."""

    name: ClassVar[str] = "console"

    def __init__(self, context: OutputContext) -> None:
        """No run has ended yet."""
        super().__init__(context)
        self._ended: Ended | None = None

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Enabled by default on a terminal."""
        log = context.settings.log
        return log.format == "console" or (log.format == "auto" and context.stderr.isatty())

    def open(self) -> None:
        """Loads immediately: a person expects output without delay."""
        super().open()
        self.load()

    def steps(self) -> Sequence[Processor]:
        """Returns columns, coloured where the terminal has colours."""
        from structlog.dev import ConsoleRenderer, plain_traceback

        colours = self.context.stderr.isatty() and not self.context.environment.get("NO_COLOR")
        renderer = ConsoleRenderer(
            colors=colours, pad_event_to=18, sort_keys=False, exception_formatter=plain_traceback
        )
        return short, printable, lambda logger, level, line: _job_line(line) or renderer(logger, level, line)

    def take(self, record: Record) -> None:
        """Logs the event. Job log lines in the summary are not shown twice."""
        if isinstance(record.event, events.SyncLog) and self._summarises and not self._follows:
            return
        super().take(record)

    @property
    def _follows(self) -> bool:
        return self.context.settings.logs.show in ("follow", "all")

    @property
    def _summarises(self) -> bool:
        shown = LEVELS[self.context.settings.log.level] <= LEVELS["info"]
        return shown and self.context.whole_run and self.context.stderr.isatty()

    def end(self, ended: Ended) -> None:
        """Stores the result for the summary."""
        self._ended = ended

    def close(self) -> None:
        """Shows the run's summary: the last output on the terminal."""
        if self._ended and self._summarises:
            from runner.outputs.summary import print_summary

            print_summary(self._ended.report, self.context.stderr, logs=not self._follows)


def _job_line(line: Line) -> str | None:
    """Formats a job's log line unchanged, after the time and the sync; None for every other event."""
    if line["event"] != events.SyncLog.name:
        return None
    return f"{line['timestamp']} {line.get('sync', '')} | {line['line']}"


def short(_logger: Any, _level: str, line: Line) -> Line:
    """Shows only the time of day, and no run id: a person knows both."""
    return {**{key: value for key, value in line.items() if key != "run_id"}, "timestamp": line["timestamp"][11:19]}


def printable(_logger: Any, _level: str, line: Line) -> Line:
    """Removes control sequences for a terminal or a CI system, whatever their origin."""
    return {key: _printable(value) for key, value in line.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    return ", ".join(map(escape, value)) if isinstance(value, tuple) else value
