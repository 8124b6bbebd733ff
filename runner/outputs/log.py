"""Log lines: one JSON object each on standard error, or readable ones on a terminal. A listener over structlog."""

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TextIO

from runner.clock import rfc3339
from runner.events import events
from runner.events.observer import Event, Record
from runner.settings import LogSettings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# Values in our own words or the configuration's, as metrics and report show them: they hold nothing that others said.
OURS = frozenset({
    "timestamp", "level", "event", "run_id", "account", "sync", "sync_type", "version", "base_url", "profile", "result",
    "signal", "action", "secret", "target", "method", "endpoint", "code", "reason", "status", "start_date", "end_date",
    "shard", "old", "new", "source", "remedy", "failed_syncs", "note",
})  # fmt: skip
_CHATTY = ("httpx", "httpcore", "h11", "hpack", "asyncio")  # httpx logs full URLs, httpcore headers

Write = Callable[[str], None]
Render = Callable[[str, str, dict[str, Any]], str]  # a line from level, event name and fields


def event_fields(event: Event) -> dict[str, Any]:
    """The event's fields that are set, in their order; numbers to the thousandth."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
        if value is not None
    }


class LogListener:
    """Writes events at or above the level; a sync's progress only where it grew enough, or after some time.

    What comes before `load` is held: structlog takes a fifth of the start, and the first request need not wait for it.
    """

    def __init__(
        self,
        renderer: Callable[[], Render],
        settings: LogSettings,
        write: Write,
        *,
        redact: Callable[[str], str] = str,
        bars: bool = False,
    ) -> None:
        """`renderer` loads what makes the lines; `write` puts them out. `bars` show the progress.

        `clean` takes secrets out of every text that is not `OURS`.
        """
        self._redact = redact
        self._bars = bars and settings.level != "debug"
        self._renderer = renderer
        self._render: Render | None = None
        self._held: list[tuple[str, str, float, dict[str, Any]]] = []
        self._least = LEVELS[settings.level]
        self._step, self._every = settings.progress_step, settings.progress_every
        self._write = write
        self._shown: dict[tuple[str, str], tuple[str, float, float]] = {}

    def __call__(self, record: Record) -> None:
        """Log the event, unless it is below the level or one progress line too many."""
        event = record.event
        if LEVELS[event.severity] < self._least or not self._wanted(record):
            return
        self.line(event.severity, event.name, record.time, {**record.context, **event_fields(event)})

    def line(self, level: str, name: str, time: float, values: dict[str, Any]) -> None:
        """Put one line out, or hold it until `load`."""
        if self._render is None:
            self._held.append((level, name, time, values))
            return
        redacted = {
            key: self._redact(value) if isinstance(value, str) and key not in OURS else value
            for key, value in values.items()
        }
        self._write(self._render(level, name, {"timestamp": rfc3339(time), **redacted}) + "\n")

    def load(self) -> None:
        """Put out what was held; from now on lines go out as they come."""
        if self._render is None:
            self._render = self._renderer()
            for told in self._held:
                self.line(*told)
            self._held.clear()

    def _wanted(self, record: Record) -> bool:
        event = record.event
        if not isinstance(event, events.SyncProgress):
            return True
        if self._bars:
            return False
        key = (record.context.get("account", ""), record.context.get("sync", ""))
        status, progress, at = self._shown.get(key, ("", -1.0, 0.0))
        now = event.progress or 0.0
        moved = event.status != status or abs(now - progress) >= self._step
        if moved or record.time - at >= self._every:
            self._shown[key] = (event.status, now, record.time)
            return True
        return False


def configure_logging(
    settings: LogSettings,
    stream: TextIO,
    *,
    redact: Callable[[str], str] = str,
    write: Write | None = None,
    hold: bool = False,
) -> LogListener:
    """The listener for `stream`; where bars are drawn, `write` is theirs: it prints lines above them.

    `clean` takes secrets out of what others said. With `hold`, JSON lines wait for the listener's `load`. Also sends the
    standard library's warnings and log records the same way, with the HTTP libraries capped.
    """
    as_console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    renderer = (lambda: _console(stream)) if as_console else _json
    listener = LogListener(renderer, settings, write or _writer(stream), redact=redact, bars=bool(write))
    if as_console or not hold:
        listener.load()
    _route_standard_library(listener)
    return listener


def _writer(stream: TextIO) -> Write:
    def write(text: str) -> None:
        stream.write(text)

    return write


def _json() -> Render:
    with _without_rich():
        from structlog.processors import JSONRenderer
    renderer = JSONRenderer()

    def render(level: str, name: str, values: dict[str, Any]) -> str:
        line: MutableMapping[str, Any] = {"timestamp": values["timestamp"], "level": level, "event": name, **values}
        return str(renderer(None, name, line))

    return render


@contextmanager
def _without_rich() -> Iterator[None]:
    """structlog loads rich where it is installed, for tracebacks on a terminal: a tenth of a start, and no line here uses it."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # the import system's word for: not installed
    try:
        yield
    finally:
        del sys.modules["rich"]


def _console(stream: TextIO) -> Render:
    import os

    with _without_rich():
        from structlog.dev import ConsoleRenderer, plain_traceback

    colours = stream.isatty() and not os.environ.get("NO_COLOR")
    renderer = ConsoleRenderer(colors=colours, pad_event_to=18, sort_keys=False, exception_formatter=plain_traceback)

    def render(level: str, name: str, values: dict[str, Any]) -> str:
        shown = {key: value for key, value in values.items() if key not in ("run_id", "timestamp")}
        time = values["timestamp"][11:19]
        return str(renderer(None, name, {"timestamp": time, "level": level, "event": name, **shown}))

    return render


class _Route(logging.Handler):
    """Library log records as our lines."""

    def __init__(self, listener: LogListener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message; of an exception only its kind, never its locals or text, which may hold anything."""
        values: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            values["error"] = record.exc_info[0].__name__
        level = record.levelname.lower()
        self._listener.line(level if level in LEVELS else "error", "library.message", record.created, values)


def _route_standard_library(listener: LogListener) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Route)]:
        root.removeHandler(handler)
    root.addHandler(_Route(listener))
    root.setLevel(logging.WARNING)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        logging.captureWarnings(True)
