"""From the results of the syncs to the exit code of the run. Pure."""

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

_CODES = {
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.CANCELLED: ExitCode.FAILED,
    Outcome.SKIPPED: ExitCode.FAILED,
    Outcome.DEADLINE: ExitCode.DEADLINE,
    Outcome.UNREACHABLE: ExitCode.UNREACHABLE,
    Outcome.UNKNOWN: ExitCode.UNKNOWN,
    Outcome.CONTRACT: ExitCode.CONTRACT,
    Outcome.AUTHENTICATION: ExitCode.AUTHENTICATION,
    Outcome.INTERRUPTED: ExitCode.SIGTERM,
    Outcome.DEFECT: ExitCode.DEFECT,
    Outcome.CONFIGURATION: ExitCode.USAGE,
}

# Where nothing completed, the first of these that occurred names the run: what a person must look at comes first.
_GRAVEST = (
    Outcome.DEFECT,
    Outcome.UNKNOWN,
    Outcome.AUTHENTICATION,
    Outcome.CONFIGURATION,
    Outcome.CONTRACT,
    Outcome.DEADLINE,
    Outcome.UNREACHABLE,
    Outcome.INTERRUPTED,
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.SKIPPED,
)


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
    """The run's code. An interrupt that stopped something names itself, then a defect or an unknown trigger does."""
    seen = set(outcomes)
    if seen <= {Outcome.COMPLETED}:
        return ExitCode.COMPLETED
    if interrupted is not None:
        return interrupted
    for outcome in (Outcome.DEFECT, Outcome.UNKNOWN):
        if outcome in seen:
            return _CODES[outcome]
    if Outcome.COMPLETED in seen:
        return ExitCode.PARTIAL
    return next(_CODES[outcome] for outcome in _GRAVEST if outcome in seen)
