"""Frozen data: as `@dataclass(frozen=True)`, with methods that are written once instead of generated for each class.

Generating them takes 0.6 ms per class, and a run loads fifty such classes before its first request.
"""
# Decision 0050.

from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NoReturn, dataclass_transform

_set = object.__setattr__


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """The base of plain data: `class Point(Frozen): x: int; y: int = 0`. `fields`, `replace` and `asdict` work on it."""

    _names: ClassVar[tuple[str, ...]]
    _known: ClassVar[frozenset[str]]
    _defaults: ClassVar[Mapping[str, Any]]
    _factories: ClassVar[Mapping[str, Callable[[], Any]]]

    def __init_subclass__(cls) -> None:
        """Lets dataclasses read the fields, and generates nothing."""
        declared = fields(dataclass(init=False, repr=False, eq=False)(cls))  # type: ignore[arg-type]
        cls._names = tuple(one.name for one in declared)
        cls._defaults = {one.name: one.default for one in declared if one.default is not MISSING}
        cls._factories = {one.name: one.default_factory for one in declared if one.default_factory is not MISSING}
        cls._known = frozenset(cls._names)

    def __init__(self, *values: Any, **named: Any) -> None:
        """Sets the fields by position or name. Raises TypeError for missing or unknown ones."""
        by_place = self._names[: len(values)]
        held = {**self._defaults, **dict(zip(by_place, values, strict=False)), **named}
        for name, make in self._factories.items():
            if name not in held:
                held[name] = make()
        if len(by_place) < len(values) or not named.keys().isdisjoint(by_place) or held.keys() != self._known:
            given = ", ".join((*by_place, *named))
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self._names)}; given: {given}")
        # One by one: Python would make a `__dict__` for the object, of three times the size.
        for name in self._names:
            _set(self, name, held[name])

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        """Raises FrozenInstanceError."""
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        """Whether `other` is of the same class with the same values."""
        return isinstance(other, Frozen) and type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        """Returns the hash of the tuple of values."""
        return hash(self._values())

    def __repr__(self) -> str:
        """Shows every field by its name."""
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names)
