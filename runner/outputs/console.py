"""The log for people: readable lines on a terminal, and at the end of a run what came of it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from runner.events import events
from runner.events.observer import Record
from runner.external import escape
from runner.outputs.interface import Ended, OutputContext
from runner.outputs.log_lines import LEVELS, Line, LogOutput, Processor


class Console(LogOutput):
    """Lines for people on standard error, and a summary at the end where a person looks at it."""

    name: ClassVar[str] = "console"

    def __init__(self, context: OutputContext) -> None:
        """No run has ended."""
        super().__init__(context)
        self._ended: Ended | None = None

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """By itself on a terminal."""
        log = context.settings.log
        return log.format == "console" or (log.format == "auto" and context.stderr.isatty())

    def open(self) -> None:
        """A person wants to see at once that something happens."""
        super().open()
        self.load()

    def steps(self) -> Sequence[Processor]:
        """Columns, coloured where the terminal has colours."""
        from structlog.dev import ConsoleRenderer, plain_traceback

        colours = self.context.stderr.isatty() and not self.context.environment.get("NO_COLOR")
        renderer = ConsoleRenderer(
            colors=colours, pad_event_to=18, sort_keys=False, exception_formatter=plain_traceback
        )
        return short, printable, lambda logger, level, line: _job_line(line) or renderer(logger, level, line)

    def take(self, record: Record) -> None:
        """Log the event. What the summary shows of a job's log is not shown twice."""
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
        """Keep it for the summary."""
        self._ended = ended

    def close(self) -> None:
        """Show what came of the run: the last thing on the terminal."""
        if self._ended and self._summarises:
            from runner.outputs.summary import print_summary

            print_summary(self._ended.report, self.context.stderr, logs=not self._follows)


def _job_line(line: Line) -> str | None:
    """A line of a job's log as it is, behind the time and the sync; None for every other event."""
    if line["event"] != events.SyncLog.name:
        return None
    return f"{line['timestamp']} {line.get('sync', '')} | {line['line']}"


def short(_logger: Any, _level: str, line: Line) -> Line:
    """The time of day alone, and no run id: a person knows day and run."""
    return {**{key: value for key, value in line.items() if key != "run_id"}, "timestamp": line["timestamp"][11:19]}


def printable(_logger: Any, _level: str, line: Line) -> Line:
    """Nothing that steers a terminal or a CI system, whoever wrote it."""
    return {key: _printable(value) for key, value in line.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    return ", ".join(map(escape, value)) if isinstance(value, tuple) else value
