"""Collects the time spans for the report page: one for each login, wait, retry and sync."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from runner.events import events
from runner.events.observer import Record
from runner.frozen import Frozen

Kind = Literal["queued", "login", "wait", "retry", "sync"]
MOST = 5000  # maximum spans: a page with more is unusable


class Span(Frozen):
    """From `start` to `end` (Unix seconds), work of `kind` was done for the account's sync."""

    account: str
    sync: str
    kind: Kind
    start: float
    end: float
    detail: str


class Timeline:
    """Collects spans from events."""

    def __init__(self) -> None:
        """Starts empty."""
        self.spans: list[Span] = []
        self.dropped = 0
        self._began: float | None = None
        self._open: dict[tuple[str, str], float] = {}

    def __call__(self, record: Record) -> None:
        """Stores the event's span."""
        at = record.time
        if self._began is None:
            self._began = at
        key = (record.context.get("account", ""), record.context.get("sync", ""))
        match record.event:
            case events.SyncStarted(attempt=1):
                self._open[key] = at
                self._add(key, "queued", self._began, at, "waiting to start")
            case events.LoggedIn(method=method, duration_seconds=spent):
                self._add(key, "login", at - spent, at, method)
            case events.CodeWait(wait_seconds=seconds, reason=reason):
                self._add(key, "wait", at, at + seconds, f"for the next one-time code: {reason}")
            case events.RetryScheduled(wait_seconds=seconds, endpoint=endpoint, reason=reason):
                self._add(key, "retry", at, at + seconds, f"{endpoint}: {reason}")
            case events.SyncEnded(result=result):
                self._add(key, "sync", self._open.pop(key, at), at, result)

    def _add(self, key: tuple[str, str], kind: Kind, start: float, end: float, detail: str) -> None:
        if len(self.spans) >= MOST:
            self.dropped += 1
        elif end > start or kind == "sync":
            self.spans.append(Span(*key, kind, start, end, detail))

    def redacted(self, redact: Callable[[str], str]) -> "Timeline":
        """Returns a copy with `clean` applied to external text and errors."""
        other = Timeline()
        other.spans = [replace(span, detail=redact(span.detail)) for span in self.spans]
        other.dropped = self.dropped
        return other
