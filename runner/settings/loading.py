"""Loads the settings from command line, environment and file. Each value and each fault carries its source."""
# Decision 0004.

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from runner import yaml_source
from runner.errors import UsageError, nearest
from runner.frozen import Frozen
from runner.settings.model import ENV_PREFIX, SECRET_NAMES, Settings
from runner.settings.sections import AccountSettings, SyncSettings

RENAMED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("limits", "looks"): ("limits", "polls_per_second")
}  # each is accepted for one version, with a warning


SPELLED: dict[tuple[str, ...], tuple[str, ...]] = {("accounts", "query"): ("accounts_query",)}


class Renamed(Frozen):
    """A setting that was given under its old name."""

    old: str
    new: str
    source: str


class Loaded(Frozen):
    """The effective settings, with the source of each set value (a flag, a variable, or `file:line`) and its given form."""

    settings: Settings
    sources: dict[tuple[str, ...], str]
    given: dict[tuple[str, ...], Any]
    renamed: tuple[Renamed, ...] = ()


def load(overrides: dict[str, Any], config: Path | None = None, weakest: dict[str, Any] | None = None) -> Loaded:
    """Merges command line (`overrides`), environment, YAML file, and the caller's own defaults (`weakest`).

    Raises UsageError naming key and place.
    """
    if config is None and os.environ.get(f"{ENV_PREFIX}CONFIG"):
        config = Path(os.environ[f"{ENV_PREFIX}CONFIG"])
    file = yaml_source.read(config) if config else yaml_source.Document("", {}, {})
    in_file = file.where if config else None
    layers: list[tuple[dict[str, Any], Callable[[tuple[str, ...]], str]]] = [
        (weakest or {}, lambda _place: "default"),
        (file.data, file.where),
        (_from_environment(), lambda place: ENV_PREFIX + "__".join(map(str, place)).upper()),
        (overrides, lambda _place: "command line"),
    ]
    merged: dict[str, Any] = {}
    sources: dict[tuple[str, ...], str] = {}
    given: dict[tuple[str, ...], Any] = {}
    renamed: list[Renamed] = []
    for data, where in layers:
        for place, value in _leaves(data):
            place = SPELLED.get(place, place)
            if place in RENAMED:
                renamed.append(Renamed(".".join(place), ".".join(RENAMED[place]), where(place)))
            _check_text(where(place), place, value)
            _put(merged, RENAMED.get(place, place), value)
            sources[RENAMED.get(place, place)], given[RENAMED.get(place, place)] = where(place), value
    try:
        return Loaded(Settings(**merged), sources, given, tuple(renamed))
    except ValidationError as error:
        raise UsageError(_explain(error, sources, in_file)) from None


def _from_environment() -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource, SettingsError

    for variable in sorted(os.environ):
        if variable.upper().startswith(ENV_PREFIX):
            _check_variable(variable)
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"{ENV_PREFIX}{field[1].upper()}" if field else f"a {ENV_PREFIX}* variable"
        raise UsageError(f"{name}: not valid JSON; a list or section in one variable must be JSON") from None


def _check_variable(variable: str) -> None:
    key = variable.upper().removeprefix(ENV_PREFIX).lower()
    secrets = {*SECRET_NAMES, *(f"{name}_file" for name in SECRET_NAMES)}
    known = {"__".join(place) for place in (*_known_places(Settings), *RENAMED, *SPELLED)} | secrets | {"config"}
    if key not in known and not key.startswith(("params__", "outputs__")):
        near = nearest(key, known)
        hint = f"; did you mean {ENV_PREFIX}{near.upper()}?" if near else "; `sync-runner config schema` lists all"
        raise UsageError(f"{variable}: no such setting{hint}")


def _known_places(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*place, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_places(field.annotation, (*place, name))


def _leaves(data: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in data.items():
        at = (*place, str(key))
        if isinstance(value, dict) and (value or place):
            yield from _leaves(value, at)
        elif value is None and not place and key in ("syncs", "accounts"):
            continue  # an empty YAML list
        else:
            yield at, value


def _check_text(source: str, place: tuple[str, ...], value: Any) -> None:
    """Raises UsageError for a lone surrogate, which YAML can write (`"\\ud800"`) but no file system or request accepts."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    try:
        text.encode("utf-8", "surrogateescape")  # bytes of a command line that are not UTF-8 arrive as such
    except UnicodeEncodeError:
        raise UsageError(
            f"{source}: {'.'.join(place)}: contains half a character (a surrogate); write it whole"
        ) from None


def _put(target: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        inner = target.get(key)
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner
    target[place[-1]] = value


def _explain(
    error: ValidationError,
    sources: dict[tuple[str, ...], str],
    in_file: Callable[[Iterable[str | int]], str] | None,
) -> str:
    """Formats each fault as one line: place, key, fault, remedy. Omits the value: it could be a secret."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        place = tuple(str(part) for part in fault["loc"])
        key = ".".join(place)
        source = next((sources[place[:n]] for n in range(len(place), 0, -1) if place[:n] in sources), "")
        if in_file and source == in_file(place[:1]):
            source = in_file(fault["loc"])  # the line of the list item
        message = _in_our_words(fault)
        if fault["type"] == "extra_forbidden":
            message = "no such setting" + _nearest(place)
        elif fault["type"] == "missing":
            message = "is required" + (
                f": give --base-url, {ENV_PREFIX}BASE_URL or the key in the YAML file" if key == "base_url" else ""
            )
        lines.append(f"{source + ': ' if source else ''}{key}: {message}")
    return "\n".join(lines)


_KINDS = {
    "int": "give a whole number", "float": "give a number", "bool": "give true or false", "string": "give a text",
    "path": "give a path", "tuple": "give a list, such as `[a, b]` or `a,b`", "model": "give keys and values below it",
    "dict": "give keys and values below it",
}  # fmt: skip
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _in_our_words(fault: Mapping[str, Any]) -> str:
    """Returns the fault and the remedy without pydantic's type names; of the context, only bounds and known words."""
    kind, context = fault["type"].partition("_")[0], fault.get("ctx", {})
    bound = next(
        (f"give a number of {words} {context[name]:g}" for name, words in _BOUNDS.items() if name in context), None
    )
    if fault["type"] == "literal_error":
        return f"give one of {context['expected']}"
    if fault["type"] in ("string_too_short", "too_short"):
        return "give at least one character" if kind == "string" else "give at least one"
    if fault["type"] == "string_pattern_mismatch":
        return "does not match the form in its description (`sync-runner config init` shows it)"
    return (
        bound
        or (_KINDS.get(kind) if fault["type"] != "value_error" else None)
        or fault["msg"].removeprefix("Value error, ")
    )


def _nearest(place: tuple[str, ...]) -> str:
    names: Iterable[str]
    section = tuple(part for part in place[:-1] if not part.isdigit())
    lists: dict[tuple[str, ...], type[BaseModel]] = {
        ("syncs",): SyncSettings, ("accounts",): AccountSettings, ("accounts", "syncs"): SyncSettings,
    }  # fmt: skip
    if section in lists:
        names = lists[section].model_fields
    else:
        names = [known[-1] for known in _known_places(Settings) if known[:-1] == section]
    elsewhere = (".".join(known) for known in _known_places(Settings) if known[-1] == place[-1])
    near = nearest(place[-1], names)
    if near and section not in lists:
        near = ".".join((*section, near))
    near = near or next(elsewhere, None)  # perhaps it is in the wrong section
    return f"; did you mean `{near}`?" if near else f"; known here: {', '.join(names)}"
