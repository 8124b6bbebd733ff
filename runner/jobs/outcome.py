"""Maps an error to a sync's outcome, and the outcomes of all syncs to the run's exit code. Pure."""

from collections.abc import Iterable

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
from runner.models import Outcome
from runner.outcomes import MEANINGS

# Codes after which another try of the same run cannot help, or could do harm (`ExitCode.retry_helps`).
FINAL = frozenset(code for code in ExitCode if code.retry_helps in ("no", "look first"))


def of_error(error: RunnerError) -> Outcome:
    """Returns the outcome of a sync that ended by `error`."""
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
    """Returns the run's exit code. An interrupt that stopped something comes first, then a defect or an unknown
    trigger.

    Where some syncs completed, the code is 5 if a retry can help one of the others; else it is theirs, so that a
    scheduler does not repeat the run for nothing.
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
