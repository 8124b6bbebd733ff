"""Shared by console and JSON log: the selection of events for the log, and the structlog pipeline that formats them."""
# Decision 0054.

import logging
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

from runner.clock import rfc3339
from runner.events import events
from runner.events.observer import Event, Record
from runner.outputs.interface import Output, OutputContext
from runner.settings import LogSettings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# Values from our own words or the configuration, unchanged in metrics and report: they contain no external text.
OURS = frozenset({
    "timestamp", "level", "event", "run_id", "account", "sync", "sync_type", "version", "base_url", "profile", "result",
    "signal", "action", "secret", "target", "method", "endpoint", "code", "reason", "status", "start_date", "end_date",
    "shard", "old", "new", "source", "remedy", "failed_syncs", "note", "field", "output",
})  # fmt: skip
_CHATTY = ("httpx", "httpcore", "h11", "hpack", "asyncio")  # httpx logs full URLs, httpcore headers

Line = MutableMapping[str, Any]
Processor = Callable[[Any, str, Line], Any]  # a step of structlog's pipeline: the logger, the level, the current line


def event_fields(event: Event) -> dict[str, Any]:
    """Returns the event's fields that are set, in their order; numbers to the thousandth."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
        if value is not None
    }


class Redacted:
    """A step that redacts every text that may be external."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        """`redact` knows the secrets."""
        self._redact = redact

    def __call__(self, _logger: Any, _level: str, line: Line) -> Line:
        """Returns the line without secrets."""
        return {
            key: self._redact(value) if isinstance(value, str) and key not in OURS else value
            for key, value in line.items()
        }


class Filter:
    """Selects the events to log: by level, and of a sync's progress only enough growth, or after some time."""

    def __init__(self, settings: LogSettings) -> None:
        """Starts before the first line."""
        self._least = LEVELS[settings.level]
        self._step, self._every = settings.progress_step, settings.progress_every
        self._shown: dict[tuple[str, str], tuple[str, float, float]] = {}

    def passes(self, record: Record, *, progress: bool) -> bool:
        """Whether the event is logged; `progress` false: another output shows the progress of syncs."""
        event = record.event
        if LEVELS[event.severity] < self._least:
            return False
        return not isinstance(event, events.SyncProgress) or (progress and self._moved(record, event))

    def _moved(self, record: Record, event: events.SyncProgress) -> bool:
        key = (record.context.get("account", ""), record.context.get("sync", ""))
        status, progress, at = self._shown.get(key, ("", -1.0, 0.0))
        now = event.progress or 0.0
        moved = event.status != status or abs(now - progress) >= self._step
        if moved or record.time - at >= self._every:
            self._shown[key] = (event.status, now, record.time)
            return True
        return False


class LogOutput(Output):
    """Lines on standard error, by structlog. Lines before `load` are held: structlog takes a fifth of the start-up time."""

    every_command: ClassVar[bool] = True

    def __init__(self, context: OutputContext) -> None:
        """Logs nothing yet."""
        super().__init__(context)
        self._filter = Filter(context.settings.log)
        self._verbose = context.settings.log.level == "debug"
        self._log: Any = None
        self._held: list[tuple[str, str, Mapping[str, Any]]] = []

    @abstractmethod
    def steps(self) -> Sequence[Processor]:
        """Returns the last steps of the pipeline, the last of which returns text; may load slow modules."""

    def open(self) -> None:
        """Routes the standard library's log here. Where the run has no first request to wait for, loads now."""
        self.context.stderr.on_dropped = self._dropped
        route_standard_library(self.log)
        if not self.context.whole_run:
            self.load()

    def take(self, record: Record) -> None:
        """Logs the event, unless its level or the progress limit excludes it."""
        bars = self.context.write_line is not None
        if self._filter.passes(record, progress=self._verbose or not bars):
            values = {**record.context, **event_fields(record.event)}
            self.log(record.event.severity, record.event.name, record.time, values)

    def log(self, level: str, name: str, time: float, values: Mapping[str, Any]) -> None:
        """Writes one line, or holds it until `load`. `time` is in Unix seconds."""
        stamped = {"timestamp": rfc3339(time), **values}
        if self._log is None:
            self._held.append((level, name, stamped))
        else:
            getattr(self._log, level)(name, **stamped)

    def load(self) -> None:
        """Writes the held lines; later lines are written immediately."""
        if self._log is not None:
            return
        self._log = self._pipeline(self._put)
        for level, name, values in self._held:
            getattr(self._log, level)(name, **values)
        self._held.clear()

    def _put(self, text: str) -> None:
        self.context.line(f"{text}\n")

    def _pipeline(self, put: Callable[[str], object]) -> Any:
        """structlog's logger: `log.info("event", key=value)` passes the steps and then `put`."""
        with _without_rich():
            from structlog import make_filtering_bound_logger, wrap_logger

            last = self.steps()
        return wrap_logger(
            _Sink(put),
            processors=[_level, Redacted(self.context.redactor.redact), *last],
            wrapper_class=make_filtering_bound_logger(0),
            cache_logger_on_first_use=True,
        )

    def _dropped(self, lines: int) -> str:
        """Returns the line that reports how many lines were dropped without a reader."""
        output: list[str] = []
        event = events.LogDropped(lines)
        line = self._pipeline(output.append)
        stamp = rfc3339(self.context.clock.time())
        getattr(line, event.severity)(event.name, timestamp=stamp, run_id=self.context.run_id, **event_fields(event))
        return f"{output[0]}\n"


class _Sink:
    """Ends the pipeline, at every level."""

    def __init__(self, put: Callable[[str], object]) -> None:
        self.debug = self.info = self.warning = self.error = put


def _level(_logger: Any, level: str, line: Line) -> Line:
    """The first step: puts timestamp, level and event first."""
    return {"timestamp": line.pop("timestamp"), "level": level, "event": line.pop("event"), **line}


@contextmanager
def _without_rich() -> Iterator[None]:
    """structlog loads rich where it is installed, for tracebacks: a tenth of the start-up time, and no line here uses it."""
    left_out = [name for name in ("rich", "rich.traceback") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]  # the import system's mark for: not installed
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]


Log = Callable[[str, str, float, Mapping[str, Any]], None]  # level, event name, Unix seconds, fields


class _Route(logging.Handler):
    """Formats library log records as our lines."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the message; of an exception only its type, never its locals or text, which may contain secrets."""
        values: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            values["error"] = record.exc_info[0].__name__
        level = record.levelname.lower()
        self._log(level if level in LEVELS else "error", "library.message", record.created, values)


def route_standard_library(log: Log) -> None:
    """Sends the standard library's warnings and log records to `log`; limits the level of the HTTP libraries."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Route)]:
        root.removeHandler(handler)
    root.addHandler(_Route(log))
    root.setLevel(logging.WARNING)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        logging.captureWarnings(True)
