"""The command `config show|schema|init`: effective values with their sources, the JSON Schema, or a commented file."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from runner.secrets.reader import SecretReader
from runner.settings import ENV_PREFIX, SECRET_NAMES, Loaded, Settings, parse_duration
from runner.settings.arguments import loaded
from runner.settings.values import Hidden, format_duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument(
        "what",
        choices=("show", "schema", "init"),
        help="show: effective values with their sources; schema: JSON Schema; init: a commented file",
    )
    parser.add_argument("--env", action="store_true", help="init: SYNC_RUNNER_* variables instead of YAML")
    parser.add_argument("--json", action="store_true", help="show: one JSON document instead of lines")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the requested form of the settings to standard output."""
    if arguments.what == "schema":
        sys.stdout.write(json.dumps(Settings.model_json_schema(), indent=2) + "\n")
    elif arguments.what == "init":
        sys.stdout.write(env_example() if arguments.env else yaml_example())
    else:
        sys.stdout.writelines(_effective(arguments))
    return 0


def _effective(arguments: argparse.Namespace) -> Iterator[str]:
    now = loaded(arguments)
    rows = [
        (".".join(place), _shown(place, value, field, now), _source(place, now))
        for place, value, field in _values(now.settings)
    ]
    rows += [(name, source and "***", source or "not given") for name, source in _secret_sources(now.settings)]
    if arguments.json:
        document = [{"key": key, "value": value, "source": source} for key, value, source in rows]
        yield json.dumps(document, indent=2) + "\n"
        return
    for key, value, source in rows:
        yield f"{key} = {value if value == '***' else json.dumps(value)}  # {source}\n"


def _shown(place: tuple[str, ...], value: Any, field: FieldInfo, now: Loaded) -> Any:
    """Returns the value as it was given: a default duration with its unit, and `***` for what may hold a token."""
    if value is not None and _marked(field, Hidden):
        return "***"
    if isinstance(value, float) and _marked(field, BeforeValidator, lambda mark: mark.func is parse_duration):
        return now.given.get(place) or format_duration(value)
    return to_jsonable_python(value)


def _marked(field: FieldInfo, kind: type, fits: Callable[[Any], bool] = lambda _mark: True) -> bool:
    """Whether the field, or a part of its optional type, carries the mark."""
    parts = [field.annotation, *get_args(field.annotation)]
    marks = [*field.metadata, *(mark for part in parts for mark in getattr(part, "__metadata__", ()))]
    return any(isinstance(mark, kind) and fits(mark) for mark in marks)


def _source(place: tuple[str, ...], now: Loaded) -> str:
    return next((now.sources[place[:n]] for n in range(len(place), 0, -1) if place[:n] in now.sources), "default")


def _secret_sources(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yields each secret that is given or that most profiles need, with its source; None: it is not given."""
    reader = SecretReader(
        settings.secrets_dir, environment=os.environ, warn=lambda _name, _warning: None, named=settings.secret_sources
    )
    for name in SECRET_NAMES:
        place = reader.place(name)
        if place or name in SECRET_NAMES[:3]:
            yield name, place


def _values(model: BaseModel, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, FieldInfo]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, (*place, name))
        else:
            yield (*place, name), value, field


def _fields(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yields each leaf setting: its path, description and default (None where there is none)."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, (*place, name))
        else:
            default = None if field.default is PydanticUndefined else to_jsonable_python(field.default)
            if isinstance(default, float) and _marked(field, BeforeValidator, lambda mark: mark.func is parse_duration):
                default = format_duration(default)
            yield (*place, name), field.description or "", default


def env_example() -> str:
    """Returns the text of `.env.example`: every setting as a commented SYNC_RUNNER_* variable."""
    lines = [
        "## Every setting of sync-runner as an environment variable, with its default. Copy to .env and remove one #",
        "## from each line that you set. Written by `sync-runner config init --env`; durations take 250ms, 30s, 5m, 2h.",
        "",
    ]
    for place, about, default in _fields(Settings):
        value = "" if default in (None, []) else default if isinstance(default, str) else json.dumps(default)
        lines += [f"## {about}", f"#{ENV_PREFIX}{'__'.join(place).upper()}={value}", ""]
    lines += ["## A YAML file with settings, as --config.", f"#{ENV_PREFIX}CONFIG=", ""]
    lines += [
        "## Secrets: preferably files in secrets_dir, or one file path each. Plain variables work too, with a warning."
    ]
    lines += [f"#{ENV_PREFIX}{name.upper()}_FILE=" for name in SECRET_NAMES[:3]]
    return "\n".join(lines) + "\n"


def yaml_example() -> str:
    """Returns a commented runner.yaml with every setting and its default."""
    lines = ["## sync-runner's settings. Written by `sync-runner config init`; durations take 250ms, 30s, 5m, 2h.", ""]
    section: tuple[str, ...] = ()
    for place, about, default in _fields(Settings):
        if place[:-1] != section:
            section = place[:-1]
            lines += [f"#{'  ' * depth}{name}:" for depth, name in enumerate(section)][-1:]
        indent = "  " * len(section)
        if place == ("base_url",):
            lines += [f"## {about}", "base_url: https://sync.example.org", ""]
        elif place == ("syncs",):
            lines += [f"## {about}", "syncs:", "  - {type: activities, start: -7d, end: today}", "  - type: health", ""]
        else:
            lines += [f"##{indent} {about}", f"#{indent}{place[-1]}: {json.dumps(default)}", ""]
    return "\n".join(lines)
