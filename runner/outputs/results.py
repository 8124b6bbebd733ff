"""Formats the results of jobs for other programs: workflow outputs, dotenv files, JSON. Pure."""
# Decision 0142.

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from runner.outputs.report_model import Report

DOTENV_BYTES = 5 << 10  # GitLab refuses a larger file (default of `dotenv_size`)
DOTENV_VALUES = 20  # GitLab refuses more variables (the Free tier's limit)
DOTENV_PREFIX = "RESULT_"
TERMINATION_BYTES = 4096  # the kubelet truncates a longer message
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


def by_sync(report: Report) -> dict[str, dict[str, Any]]:
    """Returns the results of each sync with results; its name has the account in front where there are several."""
    return {report.place(one): one.results for one in report.syncs if one.results}


def document(report: Report) -> dict[str, Any]:
    """Returns the run's data for other programs."""
    code = int(report.exit_code)
    return {"run_id": report.run_id, "exit_code": code, "result": report.result, "results": by_sync(report)}


def _values(report: Report) -> Iterator[tuple[str, str, Any]]:
    for place, results in by_sync(report).items():
        for name, value in results.items():
            yield place, name, value


def as_text(value: Any) -> str:
    """Returns a text unchanged, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def github_outputs(report: Report, taken: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Returns the lines for GITHUB_OUTPUT with their names: `results` as JSON, and `SYNC_NAME` for each value.

    A `taken` or repeated name is left out: no value may replace another. A value is enclosed in two random lines, so that no
    text can end it and start another output.
    """
    found = by_sync(report)
    if not found:
        return
    seen = set(taken)
    named = [("results", json.dumps(found, ensure_ascii=False))]
    named += [(_NOT_A_NAME.sub("_", f"{place}_{name}"), as_text(value)) for place, name, value in _values(report)]
    for key, text in named:
        if key.lower() not in seen:
            seen.add(key.lower())
            yield key, _between(key, text)


def _between(key: str, text: str) -> str:
    mark = f"end-{uuid.uuid4()}"
    return f"{key}<<{mark}\n{text}\n{mark}\n"


def dotenv(report: Report) -> tuple[str, list[str]]:
    """Returns the text of GitLab's dotenv report, and the names that do not fit: GitLab allows no line breaks, 20
    values, 5 KiB."""
    lines = [f"{DOTENV_PREFIX}EXIT_CODE={int(report.exit_code)}"]
    room = DOTENV_BYTES - len(lines[0]) - 1
    seen, left_out = {lines[0].partition("=")[0]}, []
    for place, name, value in _values(report):
        key = DOTENV_PREFIX + re.sub(r"[^A-Z0-9_]", "_", f"{place}_{name}".upper())
        line = f"{key}={as_text(value)}"
        size = len(line.encode(errors="replace")) + 1
        if key in seen or not line.isprintable() or size > room or len(lines) >= DOTENV_VALUES:
            left_out.append(f"{place}.{name}")
            continue
        seen.add(key)
        lines.append(line)
        room -= size
    return "\n".join(lines) + "\n", left_out


def termination(line: str, report: Report) -> str:
    """Returns the line, and below it the results as JSON where both fit into the 4096 bytes that Kubernetes keeps."""
    found = by_sync(report)
    if not found:
        return line
    left_out = 0
    while True:
        more = {"left_out": left_out} if left_out else {}
        text = f"{line}\n{json.dumps({'results': found, **more}, ensure_ascii=False)}"
        if len(text.encode(errors="replace")) <= TERMINATION_BYTES:
            return text
        found, left_out = _without_largest(found), left_out + 1


def _without_largest(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    place, name = max(
        ((place, name) for place, results in found.items() for name in results),
        key=lambda at: len(as_text(found[at[0]][at[1]])),
    )
    smaller = {**found, place: {key: value for key, value in found[place].items() if key != name}}
    return {key: values for key, values in smaller.items() if values}
