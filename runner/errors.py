"""The error tree and the exit code table. Each error class owns its exit code and whether a retry may help.

    RunnerError
    |-- UsageError               2   the command line or the configuration is wrong
    |   `-- StateError                 the state between runs cannot be read or written
    |       `-- StateMoved                 it was moved to another place (`sync-runner state move`)
    |-- AuthenticationError      3   the login cannot succeed until a person changes something
    |   |-- SecretError              a secret is missing or unusable
    |   |-- ProxyRefused             the proxy requires its own login
    |   |-- LoginRefused             the API refused the credentials, or a cool-down is active
    |   `-- PermissionMissing        the API accepts the account but denies this one request
    |-- DeadlineExceeded         6   the deadline of a request, a sync or the run passed
    |-- Unreachable              7   the API could not be reached or kept failing
    |   `-- LoginUnclear             a login had no clear response; this run does not send its password again
    |-- OutcomeUnknown           8   a trigger may or may not have been accepted
    `-- ContractError            9   the API broke its contract, or the profile does not fit
        `-- StrayAnswer              the response is not from the API: a page, a redirect, another encoding

Messages say what happened, where, and what to do next. They never contain a secret. `sent` states whether the failed
request may have been accepted: a trigger is then looked up before it is sent again.
"""

import errno
from collections.abc import Iterable
from enum import IntEnum, StrEnum

from runner import REPOSITORY


class ExitCode(IntEnum):
    """The exit codes of the process. Stable: schedulers and `k8s/` depend on these numbers (DESIGN, Exit codes)."""

    COMPLETED = 0
    DEFECT = 1
    USAGE = 2
    AUTHENTICATION = 3
    FAILED = 4
    PARTIAL = 5
    DEADLINE = 6
    UNREACHABLE = 7
    UNKNOWN = 8
    CONTRACT = 9
    SIGINT = 130
    SIGTERM = 143

    @property
    def meaning(self) -> str:
        """One sentence for the README's table, `--help` and the termination message."""
        return _MEANINGS[self]

    @property
    def retry_helps(self) -> str:
        """`no`, `yes`, `perhaps` or `look first`: whether a scheduler should run again after this code."""
        return _RETRY[self]

    @property
    def remedy(self) -> str:
        """What a person does next, in one line; empty where no action is needed. `docs/runbook.md` has more."""
        return _REMEDIES[self]


_MEANINGS = {
    ExitCode.COMPLETED: "every sync completed",
    ExitCode.DEFECT: "unexpected error: a defect of the runner",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.AUTHENTICATION: "a secret is missing or unusable, or the login was refused",
    ExitCode.FAILED: "every sync failed or was cancelled at the server",
    ExitCode.PARTIAL: "some syncs completed, some did not",
    ExitCode.DEADLINE: "a deadline passed",
    ExitCode.UNREACHABLE: "the API could not be reached or kept failing",
    ExitCode.UNKNOWN: "outcome unknown: a trigger may or may not have been accepted",
    ExitCode.CONTRACT: "the API broke its contract (the profile does not fit)",
    ExitCode.SIGINT: "interrupted by SIGINT",
    ExitCode.SIGTERM: "interrupted by SIGTERM",
}

_RETRY = {
    ExitCode.COMPLETED: "",
    ExitCode.DEFECT: "",
    ExitCode.USAGE: "no",
    ExitCode.AUTHENTICATION: "no",
    ExitCode.FAILED: "perhaps",
    ExitCode.PARTIAL: "perhaps",
    ExitCode.DEADLINE: "yes",
    ExitCode.UNREACHABLE: "yes",
    ExitCode.UNKNOWN: "look first",
    ExitCode.CONTRACT: "no",
    ExitCode.SIGINT: "yes",
    ExitCode.SIGTERM: "yes",
}

_REMEDIES = {
    ExitCode.COMPLETED: "",
    ExitCode.DEFECT: "Report it with this log and the version; the next run looks up the jobs that were started.",
    ExitCode.USAGE: "Correct what the error names, then try `sync-runner check --no-login`.",
    ExitCode.AUTHENTICATION: "Correct the secret or unlock the account, then run `sync-runner login --force`.",
    ExitCode.FAILED: "Find the job at the API by its job id; the next run starts a new one.",
    ExitCode.PARTIAL: "Look at the syncs that did not complete; those that completed need nothing.",
    ExitCode.DEADLINE: "Raise `deadline.sync` or `deadline.run`, or find out at the API why the job is slow.",
    ExitCode.UNREACHABLE: "Wait for the API or repair the network path to it; `sync-runner check` tests it from here.",
    ExitCode.UNKNOWN: "Look for the job with `sync-runner status`; run again only if there is no job.",
    ExitCode.CONTRACT: "Check `base_url` and the profile: `sync-runner profiles test FILE`.",
    ExitCode.SIGINT: "Run again.",
    ExitCode.SIGTERM: "Run again, or wait for the next scheduled run.",
}


class RunnerError(Exception):
    """Base of all foreseen errors. `str(error)` is safe to show to users and in logs."""

    exit_code = ExitCode.DEFECT

    def __init__(self, message: str, *, sent: bool = False) -> None:
        """`sent`: the request may have been accepted, so sending it again could repeat its effect."""
        super().__init__(message)
        self.sent = sent


class UsageError(RunnerError):
    """The command line, configuration or profile is wrong. Nothing was sent."""

    exit_code = ExitCode.USAGE


class StateError(UsageError):
    """The state directory, Secret or database refused an operation: a person must change something there."""


class StateMoved(StateError):
    """The state was moved to another place. To continue here would conflict with runs there."""


class AuthenticationError(RunnerError):
    """The login cannot succeed until a person changes something."""

    exit_code = ExitCode.AUTHENTICATION


class SecretError(AuthenticationError):
    """A secret is missing or unusable. The message names the file and the fault, never the content."""


class Cause(StrEnum):
    """The reason why a login was refused, as far as the API reports it."""

    PASSWORD = "password"  # the username or password
    CODE = "code"  # the one-time code
    CREDENTIALS = "credentials"  # the password or the code: the API does not report which
    CLIENT = "client"  # the client's id, secret or signature: never the user's fault
    ACCOUNT = "account"  # locked, disabled, or a person must do something first
    TOKEN = "token"  # the result of an earlier login step
    DOUBT = "doubt"  # no clear response: lost, or the server's own failure


class LoginRefused(AuthenticationError):
    """The API refused the credentials or the code, required an unsupported factor, or a cool-down is active."""

    def __init__(self, message: str, *, cause: Cause = Cause.TOKEN) -> None:
        """`cause` decides what is sent again, and when."""
        super().__init__(message)
        self.cause = cause


class ProxyRefused(AuthenticationError):
    """The proxy refused its own login (407). Nothing reached the API, so no refusal of the account is recorded."""


class PermissionMissing(AuthenticationError):
    """The API accepts the session but denies one request. Other syncs of the account may continue."""


class DeadlineExceeded(RunnerError):
    """The deadline of a request, a sync or the run passed."""

    exit_code = ExitCode.DEADLINE


class Unreachable(RunnerError):
    """The API could not be reached, or kept failing until the retry policy was exhausted."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self, message: str, *, sent: bool = True, retry_after: float | None = None, passing: bool = False
    ) -> None:
        """`sent` false: the request certainly never reached the server. `retry_after`: seconds to wait, as the API
        asked.

        `passing`: the network path is broken at present (refused, no name, no route) and may recover.
        """
        super().__init__(message, sent=sent)
        self.retry_after = retry_after
        self.passing = passing


class LoginUnclear(Unreachable):
    """A login of this run had no clear response, which may count as a refusal: its password is not sent again."""

    def __init__(self, message: str) -> None:
        """The request after the login was certainly not sent."""
        super().__init__(message, sent=False)


class OutcomeUnknown(RunnerError):
    """A trigger's response was lost and the API cannot report the job's outcome: a person must look."""

    exit_code = ExitCode.UNKNOWN


class ContractError(RunnerError):
    """A response does not fit the profile: wrong shape, unknown status word, or an impossible state change."""

    exit_code = ExitCode.CONTRACT


class StrayAnswer(ContractError):
    """The response is not from the API: a proxy's page, a redirect, or an encoding that was not requested."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word closest to `word`, or none. The matcher is loaded on use: most runs do not need it."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), 1)), None)


def unforeseen(error: Exception) -> RunnerError:
    """Returns the error that stands for one that nothing handled: a defect, unless the process may open no more files."""
    limit = file_limit(error)
    return UsageError(limit) if limit else RunnerError(defect(error))


def file_limit(error: Exception) -> str | None:
    """Returns what to do where the process may open no more files, which is no fault of the file; None for other errors."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{error.strerror}; raise that limit (ulimit -n)"
    return None


def defect(error: BaseException) -> str:
    """Describes an unforeseen error by its type and origin. Omits its text and locals, which may contain secrets."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if "/runner/" in frame.filename), frames[-1] if frames else None)
    place = "" if at is None else f" at {at.filename.rpartition('/runner/')[2]}:{at.lineno} in {at.name}"
    return f"unexpected {type(error).__name__}{place}; this is a defect of sync-runner, please report it: {REPOSITORY}/issues"
