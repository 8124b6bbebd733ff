"""Checks a sync's type, dates and parameters against the profile before anything is sent."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from runner.errors import UsageError, nearest
from runner.profile import template
from runner.profile.models import Login, Parameter, Profile
from runner.yaml_source import not_json


class Asked(Protocol):
    """A sync from the settings."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def start(self) -> str | None: ...
    @property
    def end(self) -> str | None: ...
    @property
    def force_full(self) -> bool: ...
    @property
    def params(self) -> Mapping[str, Any]: ...


def check(profile: Profile, sync: Asked, common: Mapping[str, Any]) -> None:
    """Raises UsageError where the profile does not support `sync`, naming what it supports."""
    types = profile.jobs.sync_types
    if types and sync.type not in types:
        near = nearest(sync.type, types)
        hint = f"; did you mean `{near}`?" if near else ""
        raise UsageError(f"unknown sync type `{sync.type}` in this profile; known: {', '.join(types)}{hint}")
    uses = {name: optional for name, optional, _ in template.names(vars(profile.jobs.trigger.request))}
    for key, name in (("start", "start_date"), ("end", "end_date"), ("force_full", "force_full")):
        given = getattr(sync, key)
        if given and name not in uses:
            raise UsageError(f"syncs.{sync.name}.{key}: this profile does not support it; remove it")
        if given is None and uses.get(name) is False:
            raise UsageError(f"syncs.{sync.name}.{key}: this profile requires one; give 2026-01-31, today, -7d, ...")
    for name in sync.params:
        only = profile.parameters[name].sync_types if name in profile.parameters else ()
        if only and sync.type not in only:
            raise UsageError(f"syncs.{sync.name}.params.{name}: is only for {', '.join(only)}; remove it")
    values(profile, sync.type, {**common, **sync.params}, f"syncs.{sync.name}.params")


def values(
    profile: Profile | Login, sync_type: str | None, given: Mapping[str, Any], place: str, *, complete: bool = True
) -> dict[str, Any]:
    """Returns the parameters' values for a sync, by their names in templates. Raises UsageError naming the nearest.

    Not `complete`: of no sync, so that its required parameters may be missing.
    """
    for name in given:
        if name not in profile.parameters:
            near = nearest(name, profile.parameters)
            known = f"did you mean `{near}`?" if near else f"known: {', '.join(profile.parameters) or 'none'}"
            raise UsageError(f"{place}.{name}: no such parameter in this profile; {known}")
    return dict(_values(profile, sync_type, given, place, complete))


def _values(
    profile: Profile | Login, sync_type: str | None, given: Mapping[str, Any], place: str, complete: bool
) -> Iterator[tuple[str, Any]]:
    for name, parameter in profile.parameters.items():
        if parameter.sync_types and sync_type not in parameter.sync_types:
            continue
        value = given.get(name, parameter.default)
        if value is None and parameter.required and complete:
            about = f" ({parameter.description})" if parameter.description else ""
            raise UsageError(f"{place}.{name}: this profile requires it{about}; give a {parameter.type}")
        if value is not None:
            yield f"params.{name}", _typed(value, parameter, f"{place}.{name}")


def _typed(value: Any, parameter: Parameter, key: str) -> Any:
    """Returns the value, parsed from text where it comes from the command line or the environment."""
    if isinstance(value, str) and parameter.type not in ("string", "path"):
        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"{key}: must be a JSON {parameter.type}, such as {_EXAMPLES[parameter.type]}") from None
    wrong = next(not_json(value), None)
    if wrong:
        raise UsageError(f"{'.'.join(map(str, (key, *wrong[0])))}: {wrong[1]}")
    if not parameter.fits(value):
        raise UsageError(f"{key}: must be of type {parameter.type}, such as {_EXAMPLES[parameter.type]}")
    return template.PathText(value.lstrip("/")) if parameter.type == "path" else value


_EXAMPLES = {
    "string": '"text"', "path": '"accounts/login/"',
    "integer": "7", "number": "0.5", "boolean": "true", "object": '{"key": 1}', "array": "[1, 2]",
}  # fmt: skip
