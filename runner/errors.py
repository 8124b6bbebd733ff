"""The one tree of errors and the one table of exit codes; each error owns its code and whether another try may help.

    RunnerError
    |-- UsageError               2   the command line or the configuration is wrong
    |   `-- StateError                 what is kept between runs cannot be read or written as things are
    |       `-- StateMoved                 it was moved to another place (`sync-runner state move`)
    |-- AuthenticationError      3   the login cannot succeed as things are
    |   |-- SecretError              a secret is missing or unusable
    |   |-- ProxyRefused             the proxy wants a login
    |   |-- LoginRefused             the API said no to the credentials, or a cool-down is on
    |   `-- PermissionMissing        the API knows the account, and denies it this one thing
    |-- DeadlineExceeded         6   a request's, sync's or run's time is up
    |-- Unreachable              7   the API could not be reached or kept failing
    |   `-- LoginUnclear             a login had no clear answer, and this run sends its password no more
    |-- OutcomeUnknown           8   a trigger may or may not have been taken
    `-- ContractError            9   the API broke its contract, or the profile does not fit
        `-- StrayAnswer              what answered is not the API: a page, a redirect, another encoding

Messages say what happened, where, and what to do next; they never hold a secret. `sent` tells whether the request that
ended so may have been taken: a trigger is then looked up before it is sent again.
"""

from collections.abc import Iterable
from enum import IntEnum, StrEnum

from runner import REPOSITORY


class ExitCode(IntEnum):
    """What the process leaves with. Stable: schedulers and `k8s/` act on these numbers (DESIGN, Exit codes)."""

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
        """`no`, `yes`, `perhaps` or `look first`: what a scheduler should do with this code."""
        return _RETRY[self]

    @property
    def remedy(self) -> str:
        """What a person does next, in one line; empty where nothing needs to be done. `docs/runbook.md` has more."""
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
    ExitCode.UNKNOWN: "outcome unknown: a trigger may or may not have been taken",
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
    ExitCode.DEFECT: "Report it with this log and the version; the next run looks up what was begun.",
    ExitCode.USAGE: "Correct what the error names, then try `sync-runner check --no-login`.",
    ExitCode.AUTHENTICATION: "Correct the secret or unlock the account, then run `sync-runner login --force`.",
    ExitCode.FAILED: "Find the job at the API by its job id; the next run starts a new one.",
    ExitCode.PARTIAL: "Look at the syncs that did not complete; those that completed need nothing.",
    ExitCode.DEADLINE: "Raise `deadline.sync` or `deadline.run`, or find out at the API why the job is slow.",
    ExitCode.UNREACHABLE: "Wait for the API, or repair the way to it; `sync-runner check` tries from here.",
    ExitCode.UNKNOWN: "Look for the job with `sync-runner status`; run again only where there is none.",
    ExitCode.CONTRACT: "Check `base_url` and the profile: `sync-runner profiles test FILE`.",
    ExitCode.SIGINT: "Run again.",
    ExitCode.SIGTERM: "Run again, or let the schedule do it.",
}


class RunnerError(Exception):
    """Anything the runner foresees going wrong. `str(error)` is fit for users and logs."""

    exit_code = ExitCode.DEFECT

    def __init__(self, message: str, *, sent: bool = False) -> None:
        """`sent`: the request may have been taken, so that sending it again could do its work twice."""
        super().__init__(message)
        self.sent = sent


class UsageError(RunnerError):
    """The command line, configuration or profile is wrong: nothing was sent."""

    exit_code = ExitCode.USAGE


class StateError(UsageError):
    """The state directory, Secret or database refuses: a person must change something there."""


class StateMoved(StateError):
    """The state was moved to another place; who works on here would do so beside whoever works there."""


class AuthenticationError(RunnerError):
    """The login cannot succeed until a person changes something."""

    exit_code = ExitCode.AUTHENTICATION


class SecretError(AuthenticationError):
    """A secret is missing or unusable; the message names the file and the fault, never the content."""


class Cause(StrEnum):
    """What a refused login was refused for, as far as the API tells."""

    PASSWORD = "password"  # the username or password
    CODE = "code"  # the one-time code
    CREDENTIALS = "credentials"  # the password or the code: the API does not tell which
    CLIENT = "client"  # the client's id, secret or signature: never the user's fault
    ACCOUNT = "account"  # locked, disabled, or a person must do something first
    TOKEN = "token"  # what an earlier step of the login gave
    DOUBT = "doubt"  # no clear answer: lost, or the server's own failure


class LoginRefused(AuthenticationError):
    """The API refused the credentials or the code, asked for a factor the runner has not, or a cool-down is on."""

    def __init__(self, message: str, *, cause: Cause = Cause.TOKEN) -> None:
        """`cause` decides what is sent again, and when."""
        super().__init__(message)
        self.cause = cause


class ProxyRefused(AuthenticationError):
    """The proxy refused its own login (407): nothing reached the API, and no refusal of the account is recorded."""


class PermissionMissing(AuthenticationError):
    """The API accepts the session, and denies the account this one thing: other syncs of the account may go on."""


class DeadlineExceeded(RunnerError):
    """The time set for a request, a sync or the run is up."""

    exit_code = ExitCode.DEADLINE


class Unreachable(RunnerError):
    """The API could not be reached, or kept failing after every try the policy allows."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self, message: str, *, sent: bool = True, retry_after: float | None = None, passing: bool = False
    ) -> None:
        """`sent` false: it certainly never reached the server. `retry_after`: seconds to wait, by the API's own word.

        `passing`: there is no way to the server just now (refused, no name, no route), and time may mend it.
        """
        super().__init__(message, sent=sent)
        self.retry_after = retry_after
        self.passing = passing


class LoginUnclear(Unreachable):
    """A login of this run had no clear answer, which may count as a refusal: its password is not sent again."""

    def __init__(self, message: str) -> None:
        """What was to follow the login was certainly not sent."""
        super().__init__(message, sent=False)


class OutcomeUnknown(RunnerError):
    """A trigger's answer was lost and the API cannot tell what became of it: a person must look."""

    exit_code = ExitCode.UNKNOWN


class ContractError(RunnerError):
    """An answer does not fit the profile: wrong shape, unknown status word, an impossible state change."""

    exit_code = ExitCode.CONTRACT


class StrayAnswer(ContractError):
    """What answered is not the API, but something in its place: a page of a proxy, a redirect, an encoding not asked for."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` may be a slip of. What finds it is loaded only now, for most runs make no slip."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), 1)), None)


def defect(error: BaseException) -> str:
    """What to tell of an unforeseen error: its kind and where it arose. Never its text or locals, which may hold anything."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if "/runner/" in frame.filename), frames[-1] if frames else None)
    place = "" if at is None else f" at {at.filename.rpartition('/runner/')[2]}:{at.lineno} in {at.name}"
    return f"unexpected {type(error).__name__}{place}; this is a defect of sync-runner, please report it: {REPOSITORY}/issues"
