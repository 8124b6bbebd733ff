"""Writes `docs/events.md` and `docs/events.schema.json` from `events.py`: `python -m tools.event_reference docs`."""

import json
import sys
from dataclasses import Field, fields
from inspect import cleandoc
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from runner.events.events import ALL
from runner.events.observer import Event
from runner.outputs.log_lines import LEVELS

_HEAD = """\
# Events

One line on standard error for each, as a JSON object (`log.format: json`, and by itself where nobody looks at a
terminal). Written from `runner/events/events.py` by `make docs`; do not edit.

Every line has `timestamp` (UTC, RFC 3339, milliseconds), `level` (`debug`, `info`, `warning`, `error`), `event` and
`run_id`. Lines of one account have `account`; lines of one sync `sync` (its name) and `sync_type` too. A field that is
marked optional is left out where it is not known. Names and fields are stable: new ones may come, none goes or changes its
meaning within a major version.

`events.schema.json` beside this file describes a line for programs.

`library.message` (`logger`, `message`, `error`) is a warning of a library the runner uses.

The run's id goes to the API as the header `X-Request-ID` of each request. Where the environment has a valid `TRACEPARENT`
(W3C Trace Context), it goes along as `traceparent`.
"""


def markdown() -> str:
    """The whole document."""
    return "\n".join([_HEAD, *(_section(kind) for kind in ALL)])


def _section(kind: type[Event]) -> str:
    lines = [f"## `{kind.name}`", "", f"{_level(kind)}. {' '.join(cleandoc(kind.__doc__ or '').split())}", ""]
    if fields(kind):
        lines += ["| field | type | |", "| --- | --- | --- |", *(_row(field) for field in fields(kind)), ""]
    return "\n".join(lines)


def _level(kind: type[Event]) -> str:
    return " or ".join(kind.levels or (kind.level,)).capitalize()


def _row(field: "Field[Any]") -> str:
    names = {"string": "string", "integer": "integer", "number": "number", "boolean": "true or false"}
    told = "list of strings" if _is_list(field) else names[_json_type(field)]
    return f"| `{field.name}` | {told} | {'optional' if field.default is None else ''} |"


def _is_list(field: "Field[Any]") -> bool:
    return "tuple" in str(field.type)


def _json_type(field: "Field[Any]") -> str:
    names: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return next(names[kind] for kind in get_args(field.type) or (field.type,) if kind is not NoneType)


def schema() -> dict[str, Any]:
    """A JSON Schema of one log line: one definition an event."""
    definitions = {kind.name: _line(kind) for kind in ALL}
    text = {"type": "string"}
    definitions["library.message"] = _line_of(
        "library.message", sorted(LEVELS), {"logger": text, "message": text, "error": text}, ["logger", "message"]
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One log line of sync-runner",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


def _line(kind: type[Event]) -> dict[str, Any]:
    values: dict[str, Any] = {
        field.name: {"type": "array", "items": {"type": "string"}} if _is_list(field) else {"type": _json_type(field)}
        for field in fields(kind)
    }
    always = [field.name for field in fields(kind) if field.default is not None]
    return _line_of(kind.name, [*(kind.levels or (kind.level,))], values, always)


def _line_of(name: str, levels: list[str], values: dict[str, Any], always: list[str]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["timestamp", "level", "event", *always],
        "properties": {
            "timestamp": {"type": "string", "format": "date-time"},
            "level": {"enum": levels},
            "event": {"const": name},
            **dict.fromkeys(("run_id", "account", "sync", "sync_type"), text),
            **values,
        },
    }


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    (directory / "events.md").write_text(markdown(), encoding="utf-8")
    (directory / "events.schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
