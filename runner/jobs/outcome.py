"""How a sync can end, in one table: exit code, severity, remedy; and from the ends of all syncs the run's code. Pure."""

from collections.abc import Iterable
from typing import Literal

from runner.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceeded,
    ExitCode,
    OutcomeUnknown,
    RunnerError,
    Unreachable,
    UsageError,
)
from runner.frozen import Frozen
from runner.models import Outcome


class Meaning(Frozen):
    """What an outcome means: the exit code of a run in which every sync ended so, how grave it is, and what to do."""

    exit_code: ExitCode
    severity: Literal["info", "warning", "error"]
    remedy: str


# In this order: where nothing completed, the first outcome that occurred names the run. What a person must look at comes first.
MEANINGS: dict[Outcome, Meaning] = {
    Outcome.DEFECT: Meaning(ExitCode.DEFECT, "error", "Report the defect, with the log."),
    Outcome.UNKNOWN: Meaning(ExitCode.UNKNOWN, "error", "Look at the API for the job before you run the sync again."),
    Outcome.AUTHENTICATION: Meaning(ExitCode.AUTHENTICATION, "error", "Check the secrets and the account's rights."),
    Outcome.CONFIGURATION: Meaning(ExitCode.USAGE, "error", "Correct the setting that the error names."),
    Outcome.CONTRACT: Meaning(ExitCode.CONTRACT, "error", "Correct the profile: `sync-runner profiles test` shows what came."),
    Outcome.DEADLINE: Meaning(ExitCode.DEADLINE, "error", "Run the sync again, or give it more time (`deadline.sync`)."),
    Outcome.UNREACHABLE: Meaning(ExitCode.UNREACHABLE, "error", "Run the sync again when the API answers."),
    Outcome.INTERRUPTED: Meaning(ExitCode.SIGTERM, "warning", "Run the sync again."),
    Outcome.FAILED: Meaning(ExitCode.FAILED, "error", "Look at the job's own error at the API."),
    Outcome.CANCELLED: Meaning(ExitCode.FAILED, "warning", "Find out who cancelled the job at the API; run it again."),
    Outcome.SKIPPED: Meaning(ExitCode.FAILED, "warning", "Mend what the error names; the next run does this sync too."),
    Outcome.COMPLETED: Meaning(ExitCode.COMPLETED, "info", ""),
}  # fmt: skip
# Codes after which another try of the same run cannot help, or could do harm (`ExitCode.retry_helps`).
FINAL = frozenset(code for code in ExitCode if code.retry_helps in ("no", "look first"))


def of_error(error: RunnerError) -> Outcome:
    """The outcome of a sync that ended by `error`."""
    kinds: tuple[tuple[type[RunnerError], Outcome], ...] = (
        (UsageError, Outcome.CONFIGURATION),
        (AuthenticationError, Outcome.AUTHENTICATION),
        (DeadlineExceeded, Outcome.DEADLINE),
        (Unreachable, Outcome.UNREACHABLE),
        (OutcomeUnknown, Outcome.UNKNOWN),
        (ContractError, Outcome.CONTRACT),
    )
    return next((outcome for kind, outcome in kinds if isinstance(error, kind)), Outcome.DEFECT)


def exit_code(outcomes: Iterable[Outcome], *, interrupted: ExitCode | None = None) -> ExitCode:
    """The run's code. An interrupt that stopped something names itself, then a defect or an unknown trigger does.

    Where some syncs completed, the code is 5 if a retry can help one of the others; else it is theirs, so that a
    scheduler does not repeat the run in vain.
    """
    seen = set(outcomes)
    if seen <= {Outcome.COMPLETED}:
        return ExitCode.COMPLETED
    if interrupted is not None:
        return interrupted
    gravest = next(MEANINGS[outcome].exit_code for outcome in MEANINGS if outcome in seen)
    if gravest in (ExitCode.DEFECT, ExitCode.UNKNOWN) or Outcome.COMPLETED not in seen:
        return gravest
    failed = {MEANINGS[outcome].exit_code for outcome in seen - {Outcome.COMPLETED, Outcome.SKIPPED}}
    return gravest if failed and failed <= FINAL else ExitCode.PARTIAL
