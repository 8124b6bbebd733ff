"""The only channel by which the engine reports events: an `Observer` that passes them to listeners.

Logs, metrics, progress, timeline and notifications are listeners; the engine knows none of them.
"""
# Decision 0040.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, Generic, TypeVar

from runner.clock import Clock
from runner.frozen import Frozen


class Event(Frozen):
    """An event; subclasses in `events.py` name it and define its fields."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"
    levels: ClassVar[tuple[str, ...]] = ()  # where the level depends on the fields: all possible levels

    @property
    def severity(self) -> str:
        """The level of this event: `debug`, `info`, `warning` or `error`."""
        return self.level


class Record(Frozen):
    """An event with its time (Unix seconds) and context (run_id, account, sync, ...)."""

    time: float
    event: Event
    context: Mapping[str, str]


Listener = Callable[[Record], None]
_Late = TypeVar("_Late", bound=Listener)


class Deferred(Generic[_Late]):
    """A listener that is created later, when its modules are loaded, and then receives the events it missed."""

    def __init__(self, make: Callable[[], _Late]) -> None:
        """`make` creates the listener, once."""
        self._make = make
        self._made: _Late | None = None
        self._missed: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Passes the record on, or stores it until the listener exists."""
        (self._made or self._missed.append)(record)

    def load(self) -> _Late:
        """Returns the listener, created and up to date."""
        if self._made is None:
            self._made = self._make()
            for record in self._missed:
                self._made(record)
            self._missed.clear()
        return self._made


class Observer(Frozen):
    """Passes every event to every listener, with time and context."""

    clock: Clock
    listeners: Sequence[Listener] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    def bind(self, **context: str) -> "Observer":
        """Returns an observer whose events also carry `context`."""
        return Observer(self.clock, self.listeners, {**self.context, **context})

    def emit(self, event: Event) -> None:
        """Notifies every listener. A listener never raises: it drops what it cannot handle, and the run continues."""
        record = Record(self.clock.time(), event, self.context)
        for listener in self.listeners:
            listener(record)
