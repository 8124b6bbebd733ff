"""Formulates the faults that pydantic finds in a profile: what is wrong at which key, and what to write instead. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from runner.errors import nearest
from runner.external import show
from runner.yaml_source import Place

_PLAIN = {
    "missing": "is required",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "too_long": "has too many entries; `sync-runner profiles schema` has the bound",
}
_RULES = frozenset({"accepted", "expired", "previous_expired", "conflict", "missing", "unsure", "starting"})
_KINDS = {
    "string": "must be text; write it in quotes",
    "int": "must be a whole number, without quotes",
    "bool": "must be true or false, without quotes",
    "tuple": "must be a list, such as [a, b]",
    "dict": "must have keys and values; `sync-runner profiles schema` lists them",
    "model": "must have keys and values; `sync-runner profiles schema` lists them",
}
_FORMS = {
    "^/": "must begin with /; the host is in `base_url`, or a name in `at`",
    "^[a-z_][a-z0-9_]*$": "a name consists of a-z, 0-9 and _, and does not begin with a digit",
}
_BOUNDS = {"ge": "at least", "le": "at most"}


def told(faults: Sequence[Mapping[str, Any]], kind: type[BaseModel], data: Any) -> Iterator[tuple[Place, str]]:
    """Yields each fault's place and message. Omits that a list is empty where its entries are the fault."""
    for index, fault in enumerate(faults):
        place: Place = fault["loc"]
        others = (other["loc"][: len(place)] for at, other in enumerate(faults) if at != index)
        if fault["type"] == "too_short" and place in others:
            continue
        yield place, _told(fault, kind, data)


def _told(fault: Mapping[str, Any], kind: type[BaseModel], data: Any) -> str:
    type_, context, given = fault["type"], fault.get("ctx", {}), _at(data, fault["loc"])
    if type_ == "extra_forbidden":
        return "no such key here" + _instead(fault["loc"], kind)
    if type_ in ("literal_error", "enum"):
        return _one_of(str(context["expected"]), given)
    if type_ == "string_pattern_mismatch":
        return _FORMS.get(context["pattern"], f"must match {context['pattern']}")
    if type_ in _PLAIN:
        return _PLAIN[type_]
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]}"
    return _of_kind(fault, given) if type_ != "value_error" else str(fault["msg"]).removeprefix("Value error, ")


def _of_kind(fault: Mapping[str, Any], given: Any) -> str:
    """Describes the values that are possible at the place of one of the wrong type."""
    keys = [part for part in fault["loc"] if isinstance(part, str)]
    last = keys[-1] if keys else ""
    if "words" in keys[-2:] or last == "idle":
        return "a status word is text, a whole number, true or false, or a list of these"
    if fault["type"] == "string_type" and isinstance(given, dict | list | None):
        return "must be one text"
    if fault["type"] == "model_type" and not isinstance(given, dict):
        if last in _RULES:
            return "must be a status without quotes, or a rule, such as [200, {status: 403, when: \"code == 'OVER'\"}]"
        if isinstance(given, int | float):
            return "must be the place of a value in the response, such as data.id or {header: X-Id}"
    return _KINDS.get(fault["type"].partition("_")[0]) or str(fault["msg"])


def _one_of(expected: str, given: Any) -> str:
    known = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    if len(known) == 1:
        return f"must be {expected}, without quotes"
    near = nearest(given.lower(), {word.lower() for word in known}) if isinstance(given, str) else None
    hint = next((f"; did you mean `{word}`?" for word in known if word.lower() == near), "")
    return f"must be one of {expected}{hint}"


def _at(data: Any, place: Place) -> Any:
    """Returns what the file has at the place; None where it has nothing there."""
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None if isinstance(data, dict | list) else data  # a single value in the place of a list
    return data


def _instead(place: Place, kind: type[BaseModel]) -> str:
    """Names the nearest key of the part in which the unknown one stands, else the part's keys."""
    found: set[type[BaseModel]] = {kind}
    for part in place[:-1]:
        found = set(_inner(found, part)) or found
    keys = sorted({field.alias or name for model in found for name, field in model.model_fields.items()})
    near = nearest(str(place[-1]), keys)
    return f"; did you mean `{near}`?" if near else f"; known here: {show(', '.join(keys), 300)}"


def _inner(models: set[type[BaseModel]], part: str | int) -> Iterator[type[BaseModel]]:
    """Yields the models at the key `part` of the models; at an index or a free key, the models themselves go on."""
    for model in models:
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
