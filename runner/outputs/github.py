"""The report for a GitHub Actions step: a summary, outputs, and an annotation for each sync that did not complete.

Files and commands follow https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from runner.external import escape
from runner.outputs.files import append_file, check_file
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.report_model import Report, SyncReport

SUMMARY_BYTES = 1 << 20  # GitHub refuses a larger step summary
LOGS, LOG_WIDTH = 10, 300  # logs in the summary; characters of a line
ANNOTATIONS = 10  # GitHub shows ten errors and ten warnings per step
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$@:/-])")


class GitHub(Output):
    """`report.github`: by default in a GitHub Actions step."""

    name: ClassVar[str] = "github"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """`always`, or `auto` within a step."""
        setting = context.settings.report.github
        return setting == "always" or (setting == "auto" and context.environment.get("GITHUB_ACTIONS") == "true")

    def check(self, seconds: float) -> str | None:
        """Checks whether the files that GitHub names can be written."""
        files = [self.context.environment.get(name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")]
        return next(filter(None, (check_file(Path(file)) for file in files if file)), None)

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes summary and outputs to the files that GitHub names, annotations to standard error."""
        self.context.stderr.writelines(line + "\n" for line in annotations(ended.report))
        return write_files(ended.report, self.context.environment, seconds)


def write_files(report: Report, environment: Mapping[str, str], seconds: float) -> str | None:
    """Appends summary and outputs to the files that GitHub names. Returns the error, or None."""
    problems = []
    for variable, text in (("GITHUB_STEP_SUMMARY", summary(report)), ("GITHUB_OUTPUT", outputs(report))):
        path = environment.get(variable)
        problem = append_file(Path(path), text, seconds) if path else None
        problems += [f"{variable}: {problem}"] if problem else []
    return "; ".join(problems) or None


def summary(report: Report) -> str:
    """Returns Markdown: the run in one line, the failed syncs first, then the others, then the errors."""
    sign = "✅" if report.good else "❌"
    head = [
        f"### {sign} sync-runner: {_escaped(report.meaning)} (exit code {int(report.exit_code)})",
        "",
        *([_escaped(report.remedy), ""] if report.remedy else []),
        "| account | sync | outcome | items | seconds | attempts | error |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    tail = ["", *(f"- {_escaped(error)}" for error in report.errors), *_logs(report)]
    tail += ["", f"Run `{report.run_id}`, {report.duration_seconds:.1f} s, sync-runner {report.runner_version}"]
    end = "\n".join(tail) + "\n\n"
    lines = ["\n".join(head) + "\n"]
    room = SUMMARY_BYTES - 200 - _size(lines[0]) - _size(end)
    ordered = [*report.failed, *(one for one in report.syncs if one.completed)]
    for number, sync in enumerate(ordered):
        row = _row(sync) + "\n"
        room -= _size(row)
        if room < 0:
            lines.append(f"\n{len(ordered) - number} more syncs are in the report.\n")
            break
        lines.append(row)
    return "".join([*lines, end])


def _logs(report: Report) -> Iterator[str]:
    """Returns the last lines of the logs of failed jobs, folded; only of the first few syncs, to leave room for the table."""
    for sync in [one for one in report.failed if one.log][:LOGS]:
        lines = "\n".join(line[:LOG_WIDTH] for line in sync.log)
        text = lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"\n<details><summary>The job's log: {_escaped(report.place(sync))}</summary>\n"
        yield f"<pre>\n{text}\n</pre>\n\n</details>"


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _row(sync: SyncReport) -> str:
    cells = (
        sync.account, sync.name, sync.outcome.value, sync.items, f"{sync.duration_seconds:.1f}", str(sync.attempts),
        (sync.error or "")[:500],
    )  # fmt: skip
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def outputs(report: Report) -> str:
    """Returns `exit_code`, `result`, `run_id`, `completed`, `failed` for later steps, and the results of jobs."""
    values = {
        "exit_code": int(report.exit_code),
        "result": report.result,
        "run_id": report.run_id,
        "completed": report.completed,
        "failed": len(report.syncs) - report.completed,
    }
    text = "".join(f"{key}={value}\n" for key, value in values.items())  # no value can contain a line break
    if any(one.results for one in report.syncs):
        from runner.outputs.results import github_outputs

        text += "".join(lines for _key, lines in github_outputs(report, frozenset(values)))
    return text


def annotations(report: Report) -> Iterator[str]:
    """Returns workflow commands: an error or a warning for each sync that did not complete, and for the run's own errors."""
    shown = {"error": 0, "warning": 0}
    for sync in report.failed:
        shown[sync.severity] += 1
        if shown[sync.severity] <= ANNOTATIONS:
            title = f"{sync.account}: {sync.name} {sync.outcome.value}"
            yield f"::{sync.severity} title={_property(title)}::{_data(sync.reason)}"
    for error in report.errors[:ANNOTATIONS]:
        yield f"::error title={_property('sync-runner')}::{_data(error)}"


def _data(text: str) -> str:
    """Formats one line of a command. Keeps a line break, as GitHub's `%0A`; removes commands for terminals and other CIs."""
    lines = (escape(line) for line in text.splitlines() or [""])
    return "%0A".join(line.replace("%", "%25") for line in lines)


def _property(text: str) -> str:
    return _data(" ".join(text.split())).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    """Escapes text for Markdown and HTML, on one line."""
    text = escape(" ".join(text.split()))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)
