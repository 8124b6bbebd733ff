"""Closed templates: `${name}` is a named value of the run, `${name?}` one that may be absent. No code.

A string that is only a placeholder keeps the value's JSON type; inside a longer string the value is written as text.
An absent optional value removes its key from the request, and a mapping that becomes empty by it; with `${name?null}`
the key stays and is null. `$$` is a dollar sign.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from runner.yaml_source import Place

_PLACEHOLDER = re.compile(r"\$(?:\$|\{([a-z_][a-z0-9_.]*)(\?(?:null)?)?\})")
_FOREIGN = (  # of other languages; compiled on use
    r"(?:^|\s)(?:%?\{\{?\s*([a-z_][a-z0-9_.]*)\s*\}?\}|<([a-z_][a-z0-9_.]*)>|%\(?([a-z_][a-z0-9_.]*)(?:%|\)s))$"
)
_ABSENT = object()


class PathText(str):
    """A text whose slashes separate segments in a path."""

    __slots__ = ()


def stray(template: Any) -> Iterator[Place]:
    """Yields the places of a `$` that starts no placeholder: a mistake, since it would be sent unchanged."""
    for text, place in _texts(template, ()):
        if "$" in _PLACEHOLDER.sub("", text):
            yield place


def foreign(template: Any, known: Collection[str], place: Place = ()) -> Iterator[tuple[str, Place]]:
    """Yields `known` names in placeholders of other languages, such as `{name}`, `{{ name }}`, `<name>`.

    Only where they are the whole text, or its end after a space: `{name}` within a longer text may be the API's own.
    """
    for text, at in (*_texts(template, place), *_keys(template, place)):
        match = re.search(_FOREIGN, text)
        if match and (name := next(part for part in match.groups() if part)) in known:
            yield name, at


def _keys(template: Any, place: Place) -> Iterator[tuple[str, Place]]:
    """Yields every key, with its place."""
    if isinstance(template, Mapping):
        for key, value in template.items():
            yield str(key), (*place, str(key))
            yield from _keys(value, (*place, str(key)))


def names(template: Any) -> Iterator[tuple[str, bool, Place]]:
    """Yields each placeholder in `template`: its name, whether it is optional, and its place."""
    for text, place in _texts(template, ()):
        for match in _PLACEHOLDER.finditer(text):
            if match[1]:
                yield match[1], bool(match[2]), place


def _texts(template: Any, place: Place) -> Iterator[tuple[str, Place]]:
    """Yields every text in `template`, with its place."""
    if isinstance(template, str):
        yield template, place
    elif isinstance(template, Mapping):
        for key, value in template.items():
            if "$" in str(key):
                yield str(key), (*place, str(key))
            yield from _texts(value, (*place, str(key)))
    elif isinstance(template, list | tuple):
        for index, value in enumerate(template):
            yield from _texts(value, (*place, index))


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Returns the template with `values`; None counts as absent. KeyError names a required value that is absent."""
    result = _fill(template, values)
    return None if result is _ABSENT else result


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        filled = {_fill_key(key, values): _fill(value, values) for key, value in template.items()}
        kept = {key: value for key, value in filled.items() if value is not _ABSENT}
        return kept if kept or not template else _ABSENT
    if isinstance(template, list | tuple):
        return [value for value in (_fill(item, values) for item in template) if value is not _ABSENT]
    return template


def _fill_key(key: Any, values: Mapping[str, Any]) -> Any:
    """Fills in a key, such as the name of a form's field: always a text."""
    if not isinstance(key, str) or "$" not in key:
        return key
    filled = _fill_text(key, values)
    return key if filled is None or filled is _ABSENT else as_text(filled)


def _fill_text(template: str, values: Mapping[str, Any]) -> Any:
    if "$" not in template:  # most have none, and are rendered for every poll of a job
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole and whole[1]:
        return _value(whole, values)
    missing: list[Any] = []

    def put(match: re.Match[str]) -> str:
        if not match[1]:
            return "$"
        value = _value(match, values)
        if value is None or value is _ABSENT:
            missing.append(value)
            return ""
        return as_text(value)

    text = _PLACEHOLDER.sub(put, template)
    return missing[0] if missing else text


def _value(match: re.Match[str], values: Mapping[str, Any]) -> Any:
    value = values.get(match[1])
    if value is None:
        if not match[2]:
            raise KeyError(match[1])
        return None if match[2] == "?null" else _ABSENT
    return value


def as_text(value: Any) -> str:
    """Returns a value for a path, query, header or form: a value that is not text as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
