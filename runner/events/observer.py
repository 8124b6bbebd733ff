"""The one door through which the engine tells what happens: an `Observer` that hands events to listeners.

Logs, metrics, progress, timeline and notifications are listeners; the engine knows none of them.
"""
# Decision 0040.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, Generic, TypeVar

from runner.clock import Clock
from runner.frozen import Frozen


class Event(Frozen):
    """Something that happened; subclasses in `events.py` name it and carry its fields."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"
    levels: ClassVar[tuple[str, ...]] = ()  # where the level follows from the fields: all that it can be

    @property
    def severity(self) -> str:
        """The level of this event: `debug`, `info`, `warning` or `error`."""
        return self.level


class Record(Frozen):
    """An event with the moment it happened (Unix seconds) and what it belongs to (run_id, account, sync, ...)."""

    time: float
    event: Event
    context: Mapping[str, str]


Listener = Callable[[Record], None]
_Late = TypeVar("_Late", bound=Listener)


class Deferred(Generic[_Late]):
    """A listener that is made when there is time to load what it needs, and is then told what it missed."""

    def __init__(self, make: Callable[[], _Late]) -> None:
        """`make` makes the listener, once."""
        self._make = make
        self._made: _Late | None = None
        self._missed: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Pass the record on, or keep it until the listener is made."""
        (self._made or self._missed.append)(record)

    def load(self) -> _Late:
        """The listener, made and told everything."""
        if self._made is None:
            self._made = self._make()
            for record in self._missed:
                self._made(record)
            self._missed.clear()
        return self._made


class Observer(Frozen):
    """Hands every event to every listener, stamped with time and context."""

    clock: Clock
    listeners: Sequence[Listener] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    def bind(self, **context: str) -> "Observer":
        """An observer whose events also carry `context`."""
        return Observer(self.clock, self.listeners, {**self.context, **context})

    def emit(self, event: Event) -> None:
        """Tell every listener. A listener never raises: what it cannot do it drops, the run goes on."""
        record = Record(self.clock.time(), event, self.context)
        for listener in self.listeners:
            listener(record)
