"""The one door through which the engine tells what happens: an `Observer` that hands events to listeners.

Logs, metrics, progress, timeline and notifications are listeners; the engine knows none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar

from runner.clock import Clock
from runner.frozen import Frozen


class Event(Frozen):
    """Something that happened; subclasses in `events.py` name it and carry its fields."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"


class Record(Frozen):
    """An event with the moment it happened (Unix seconds) and what it belongs to (run_id, account, sync, ...)."""

    time: float
    event: Event
    context: Mapping[str, str]


Listener = Callable[[Record], None]


class Observer(Frozen):
    """Hands every event to every listener, stamped with time and context."""

    clock: Clock
    listeners: Sequence[Listener] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    def bind(self, **context: str) -> "Observer":
        """An observer whose events also carry `context`."""
        return Observer(self.clock, self.listeners, {**self.context, **context})

    def emit(self, event: Event) -> None:
        """Tell every listener. A listener never raises: what it can not do it drops, the run goes on."""
        record = Record(self.clock.time(), event, self.context)
        for listener in self.listeners:
            listener(record)
