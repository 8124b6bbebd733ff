"""`config show|schema|init`: the effective values with their sources, the JSON Schema, a commented file to start from."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from runner.settings import ENV_PREFIX, SECRET_NAMES, Settings
from runner.settings.arguments import loaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "what",
        choices=("show", "schema", "init"),
        help="show: effective values and where each comes from; schema: JSON Schema; init: a commented file",
    )
    parser.add_argument("--env", action="store_true", help="init: SYNC_RUNNER_* variables instead of YAML")


def execute(arguments: argparse.Namespace) -> int:
    """Print what was asked for to standard output."""
    if arguments.what == "schema":
        sys.stdout.write(json.dumps(Settings.model_json_schema(), indent=2) + "\n")
    elif arguments.what == "init":
        sys.stdout.write(env_example() if arguments.env else yaml_example())
    else:
        sys.stdout.writelines(_effective(arguments))
    return 0


def _effective(arguments: argparse.Namespace) -> Iterator[str]:
    now = loaded(arguments)
    for place, value in _values(now.settings):
        source = next((now.sources[place[:n]] for n in range(len(place), 0, -1) if place[:n] in now.sources), "default")
        shown = json.dumps(to_jsonable_python(value))
        yield f"{'.'.join(place)} = {shown}  # {source}\n"
    for name in SECRET_NAMES[:3]:
        yield f"{name} = ***  # {_secret_source(name, now.settings)}\n"


def _secret_source(name: str, settings: Settings) -> str:
    variable = f"{ENV_PREFIX}{name.upper()}"
    if os.environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    if os.environ.get(variable):
        return variable
    path = settings.secrets_dir / name
    return str(path) if path.exists() else "not given"


def _values(model: BaseModel, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, (*place, name))
        else:
            yield (*place, name), value


def _fields(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Each leaf setting: its place, description and default (None where there is none)."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, (*place, name))
        else:
            default = None if field.default is PydanticUndefined else to_jsonable_python(field.default)
            yield (*place, name), field.description or "", default


def env_example() -> str:
    """The text of `.env.example`: every setting as a commented SYNC_RUNNER_* variable."""
    lines = [
        "# Every setting of sync-runner as an environment variable, with its default. Copy to .env and take the # away",
        "# where you set one. Written by `sync-runner config init --env`; durations take 250ms, 30s, 5m, 2h.",
        "",
    ]
    for place, about, default in _fields(Settings):
        value = "" if default in (None, []) else default if isinstance(default, str) else json.dumps(default)
        lines += [f"# {about}", f"#{ENV_PREFIX}{'__'.join(place).upper()}={value}", ""]
    lines += ["# A YAML file with settings, as --config.", f"#{ENV_PREFIX}CONFIG=", ""]
    lines += [
        "# Secrets: better as files in secrets_dir. Or name a file each; the plain variables work too, with a warning."
    ]
    lines += [f"#{ENV_PREFIX}{name.upper()}_FILE=" for name in SECRET_NAMES[:3]]
    return "\n".join(lines) + "\n"


def yaml_example() -> str:
    """A commented runner.yaml with every setting and its default."""
    lines = ["# sync-runner's settings. Written by `sync-runner config init`; durations take 250ms, 30s, 5m, 2h.", ""]
    section: tuple[str, ...] = ()
    for place, about, default in _fields(Settings):
        if place[:-1] != section:
            section = place[:-1]
            lines += [f"#{'  ' * depth}{name}:" for depth, name in enumerate(section)][-1:]
        indent = "  " * len(section)
        if place == ("base_url",):
            lines += [f"# {about}", "base_url: https://sync.example.org", ""]
        elif place == ("syncs",):
            lines += [f"# {about}", "syncs:", "  - {type: activities, start: -7d, end: today}", "  - type: health", ""]
        else:
            lines += [f"#{indent} {about}", f"#{indent}{place[-1]}: {json.dumps(default)}", ""]
    return "\n".join(lines)
