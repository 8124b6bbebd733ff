"""The report for a GitHub Actions step: its summary, its outputs, and an annotation for each sync that did not complete.

Files and commands as in https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

SUMMARY_BYTES = 1 << 20  # GitHub refuses a larger step summary, whole
ANNOTATIONS = 10  # GitHub shows ten errors and ten warnings of a step
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$@:/-])")
_WARNINGS = ("skipped", "cancelled", "interrupted")


def wanted(setting: str, environment: Mapping[str, str]) -> bool:
    """Whether GitHub's forms are to be written."""
    return setting == "always" or (setting == "auto" and environment.get("GITHUB_ACTIONS") == "true")


def write(report: dict[str, Any], environment: Mapping[str, str], stream: TextIO) -> str | None:
    """Summary and outputs to the files GitHub names, annotations to `stream`. Returns what went wrong, or None."""
    stream.writelines(line + "\n" for line in annotations(report))
    problems = []
    for variable, text in (("GITHUB_STEP_SUMMARY", summary(report)), ("GITHUB_OUTPUT", outputs(report))):
        if not environment.get(variable):
            continue
        try:
            with Path(environment[variable]).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            problems.append(f"{variable}: can not be written ({error.strerror})")
    return "; ".join(problems) or None


def summary(report: dict[str, Any]) -> str:
    """Markdown: the run in one line, a row for each sync, the errors."""
    sign = "✅" if report["exit_code"] == 0 else "❌"
    head = [
        f"### {sign} sync-runner: {_escaped(report['meaning'])} (exit code {report['exit_code']})",
        "",
        "| account | sync | outcome | items | seconds | attempts | error |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    tail = ["", *(f"- {_escaped(error)}" for error in report["errors"])]
    tail += [
        "",
        f"Run `{report['run_id']}`, {report['duration_seconds']:.1f} s, sync-runner {report['runner_version']}",
    ]
    end = "\n".join(tail) + "\n\n"
    lines = ["\n".join(head) + "\n"]
    room = SUMMARY_BYTES - 200 - _size(lines[0]) - _size(end)
    for number, sync in enumerate(report["syncs"]):
        row = _row(sync) + "\n"
        room -= _size(row)
        if room < 0:
            lines.append(f"\n{len(report['syncs']) - number} more syncs are in the report.\n")
            break
        lines.append(row)
    return "".join([*lines, end])


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _row(sync: dict[str, Any]) -> str:
    total, done = sync["total_items"], sync["processed_items"]
    items = "" if total is None else f"{done}/{total}"
    cells = (sync["account"], sync["name"], sync["outcome"], items, f"{sync['duration_seconds']:.1f}", sync["attempts"])
    error = (sync["error"] or "")[:500]
    return "| " + " | ".join(_escaped(str(cell)) for cell in (*cells, error)) + " |"


def outputs(report: dict[str, Any]) -> str:
    """`exit_code`, `result`, `run_id`, `completed`, `failed` for later steps. No value can hold a line break."""
    completed = report["totals"].get("completed", 0)
    values = {
        "exit_code": report["exit_code"],
        "result": "success" if report["exit_code"] == 0 else "failure",
        "run_id": report["run_id"],
        "completed": completed,
        "failed": len(report["syncs"]) - completed,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def annotations(report: dict[str, Any]) -> Iterator[str]:
    """Workflow commands: an error or a warning for each sync that did not complete, and for the run's own errors."""
    told = {"error": 0, "warning": 0}
    for sync in report["syncs"]:
        if sync["outcome"] == "completed":
            continue
        level = "warning" if sync["outcome"] in _WARNINGS else "error"
        told[level] += 1
        if told[level] <= ANNOTATIONS:
            title = f"{sync['account']}: {sync['name']} {sync['outcome']}"
            yield f"::{level} title={_property(title)}::{_data(sync['error'] or sync['outcome'])}"
    for error in report["errors"][:ANNOTATIONS]:
        yield f"::error title={_property('sync-runner')}::{_data(error)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    """Text that Markdown and HTML take for nothing but text, on one line."""
    plain = " ".join(text.split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", plain)
