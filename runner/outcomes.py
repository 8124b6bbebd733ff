"""The outcome table: the exit code, severity and remedy of each outcome.

Severity is the level of the log line, the annotation and the mark in a report. A sync that did not complete is an
error; a sync that was skipped because of another is a warning. Events need this table, so it lies below the jobs.
"""

from typing import Literal

from runner.errors import ExitCode
from runner.frozen import Frozen
from runner.models import Outcome

Severity = Literal["info", "warning", "error"]


class Meaning(Frozen):
    """The exit code of a run in which every sync has this outcome, its severity, and the remedy.

    `remedy` is empty where no action is needed.
    """

    exit_code: ExitCode
    severity: Severity
    remedy: str


# Ordered by urgency: where no sync completed, the first outcome that occurred decides the exit code.
MEANINGS: dict[Outcome, Meaning] = {
    Outcome.DEFECT: Meaning(ExitCode.DEFECT, "error", "Report the defect, with the log."),
    Outcome.UNKNOWN: Meaning(ExitCode.UNKNOWN, "error", "Look at the API for the job before you run the sync again."),
    Outcome.AUTHENTICATION: Meaning(ExitCode.AUTHENTICATION, "error", "Correct what the error names; then `sync-runner check`."),
    Outcome.CONFIGURATION: Meaning(ExitCode.USAGE, "error", "Correct the setting that the error names."),
    Outcome.CONTRACT: Meaning(ExitCode.CONTRACT, "error", "Correct the profile: `sync-runner profiles test` shows the response."),
    Outcome.DEADLINE: Meaning(ExitCode.DEADLINE, "error", "Run the sync again, or raise the deadline that the error names."),
    Outcome.UNREACHABLE: Meaning(ExitCode.UNREACHABLE, "error", "Run again when the API answers; `sync-runner check` tries."),
    Outcome.INTERRUPTED: Meaning(ExitCode.SIGTERM, "error", "Run the sync again."),
    Outcome.FAILED: Meaning(ExitCode.FAILED, "error", "Find the job at the API by its job id; the next run starts a new one."),
    Outcome.CANCELLED: Meaning(ExitCode.FAILED, "error", "Find out who cancelled the job at the API; run it again."),
    Outcome.SKIPPED: Meaning(ExitCode.FAILED, "warning", "Correct what the error names; the next run includes this sync."),
    Outcome.COMPLETED: Meaning(ExitCode.COMPLETED, "info", ""),
}  # fmt: skip
