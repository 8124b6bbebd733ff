"""Writes `docs/events.md` from `events.py`: `python -m runner.observe.reference > docs/events.md`."""

import sys
from dataclasses import Field, fields
from inspect import cleandoc
from typing import Any

from runner.observe.events import ALL
from runner.observe.interface import Event

_HEAD = """\
# Events

One line on standard error for each, as a JSON object (`log.format: json`, and by itself where nobody looks at a
terminal). Written from `runner/observe/events.py` by `make docs`; do not edit.

Every line has `timestamp` (UTC, RFC 3339, milliseconds), `level` (`debug`, `info`, `warning`, `error`), `event` and
`run_id`. Lines of one account have `account`; lines of one sync `sync` (its name) and `sync_type` too. A field that is
marked optional is left out where it is not known. Names and fields are stable: new ones may come, none goes or changes its
meaning within a major version.

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
    return kind.level[0].upper() + kind.level[1:]


def _row(field: "Field[Any]") -> str:
    kind = getattr(field.type, "__name__", None) or str(field.type)
    names = {"str": "string", "int": "integer", "float": "number", "bool": "true or false"}
    parts = [names[part] for part in kind.replace(" ", "").split("|") if part != "None"]
    return f"| `{field.name}` | {' or '.join(parts)} | {'optional' if field.default is None else ''} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
