"""Checks that the templates and sources of a profile use only names that are known there. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from runner.profile import expressions, template
from runner.profile.parts import Request, Source
from runner.yaml_source import Place

Kind = TypeVar("Kind")
EXPRESSIONS = frozenset({"when", "body", "jwt", "job", "jobs"})  # keys whose expressions may name values


class Fault(NamedTuple):
    """A fault and its place."""

    place: Place
    message: str


def instances(place: Place, part: Any, kind: type[Kind]) -> Iterator[tuple[Place, Kind]]:
    """Yields every `kind` in a part of a profile, with its place; not those within one."""
    if isinstance(part, kind):
        yield place, part
    elif hasattr(type(part), "model_fields"):
        for name in type(part).model_fields:
            yield from instances((*place, name), getattr(part, name), kind)
    elif isinstance(part, Mapping):
        for key, one in part.items():
            yield from instances((*place, key), one, kind)
    elif isinstance(part, tuple):
        for index, one in enumerate(part):
            yield from instances((*place, index), one, kind)


def known_sources(place: Place, sources: tuple[Source, ...], names: frozenset[str]) -> Iterator[Fault]:
    for source in sources:
        if source.value is not None and source.value not in names:
            yield Fault(place, f"unknown value `{source.value[:40]}`; known here: {', '.join(sorted(names)) or 'none'}")


def expression_faults(
    place: Place, part: Any, known: frozenset[str], optional: frozenset[str] = frozenset()
) -> Iterator[Fault]:
    """Yields faults of the values in the expressions of `part` (dumped): `known` ones, and `optional` ones with `?`."""
    for key, value in (
        part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ()
    ):
        if key == "request":  # templates, which are checked as such
            continue
        if not isinstance(value, str):
            yield from expression_faults((*place, key), value, known, optional)
            continue
        if (key not in EXPRESSIONS and (place[-1:] != ("fields",))) or "${" not in value:
            continue
        yield from named_faults((*place, key), value, known, optional)


def named_faults(place: Place, expression: str, known: frozenset[str], optional: frozenset[str]) -> Iterator[Fault]:
    """Yields faults of the values that one expression names."""
    for name, may_be_absent in expressions.names(expression):
        if name in optional and not may_be_absent:
            yield Fault(place, f"`{name}` may be absent; write ${{{name}?}}")
        elif name not in known | optional:
            listed = ", ".join(sorted(known | optional)) or "none"
            yield Fault(place, f"unknown value `{name[:60]}`; known here: {listed}")


def parts(request: Request) -> dict[str, Any]:
    return request.model_dump(by_alias=True, exclude_none=True)


def request_faults(
    place: Place, request: Request, known: frozenset[str], optional: frozenset[str] = frozenset()
) -> Iterator[Fault]:
    yield from text_faults(place, parts(request), known, optional)
    if any(may_be_absent for _name, may_be_absent, _at in template.names(request.path or "")):
        yield Fault((*place, "path"), "no part of a path may be absent; remove the ?")


def text_faults(
    place: Place, texts: Any, known: frozenset[str], optional: frozenset[str] = frozenset()
) -> Iterator[Fault]:
    """Yields faults of the templates in `texts`, which may use `known` names, and `optional` ones only with `?`."""
    for at in template.stray(texts):
        yield Fault((*place, *at), "a $ that starts no ${name} or ${name?} (lower case); write $$ for a dollar sign")
    for name, at in template.foreign(texts, known | optional):
        yield Fault((*place, *at), f"would be sent as it stands; write ${{{name}}} for the value of that name")
    for name, may_be_absent, at in template.names(texts):
        if name in optional and not may_be_absent:
            yield Fault((*place, *at), f"`{name}` may be absent; write ${{{name}?}}, or give it a default")
        elif name not in known | optional:
            listed = ", ".join(sorted(known | optional))
            yield Fault((*place, *at), f"unknown value `{name[:60]}`; known here: {listed}")
