"""The events of the runner, each with its name, level and fields. Durations are in seconds, progress in per cent.

`docs/events.md` is generated from this module. A field that is None is left out of the log line.
"""

from collections.abc import Sequence
from typing import ClassVar

from runner.errors import ExitCode
from runner.events.observer import Event
from runner.models import Outcome, SyncResult
from runner.outcomes import MEANINGS

NAMED = 50  # maximum failed syncs that `run.ended` names, so that the log line stays readable
_BY_CODE = ("info", "error")


class RunStarted(Event):
    """The configuration is valid and the run starts."""

    name: ClassVar[str] = "run.started"
    version: str
    base_url: str
    profile: str
    accounts: int
    syncs: int
    shard: str | None = None


class AccountEnded(Event):
    """All syncs of an account ended; logged where there are several accounts. `exit_code` is that of a run of it alone."""

    name: ClassVar[str] = "account.ended"
    levels: ClassVar[tuple[str, ...]] = _BY_CODE
    exit_code: int
    completed: int
    failed: int

    @property
    def severity(self) -> str:
        """An error unless every sync completed."""
        return _BY_CODE[self.exit_code != 0]


class RunEnded(Event):
    """The run ended; `exit_code` is that of the process, `result` its meaning, `remedy` what to do next.
    `failed_syncs` names the syncs that did not complete, with their account where there are several: the first 50.
    """

    name: ClassVar[str] = "run.ended"
    levels: ClassVar[tuple[str, ...]] = _BY_CODE
    exit_code: int
    result: str
    duration_seconds: float
    completed: int
    failed: int
    failed_syncs: tuple[str, ...] | None = None
    remedy: str | None = None

    @classmethod
    def of(cls, code: ExitCode, seconds: float, results: Sequence[SyncResult]) -> "RunEnded":
        """Builds the event for the end of a run that took this many seconds."""
        many = len({one.account for one in results}) > 1
        failed = [one for one in results if one.outcome is not Outcome.COMPLETED]
        names = tuple(f"{one.account}/{one.name}" if many else one.name for one in failed[:NAMED])
        completed = len(results) - len(failed)
        return cls(int(code), code.meaning, seconds, completed, len(failed), names or None, code.remedy or None)

    @property
    def severity(self) -> str:
        """An error unless every sync completed."""
        return _BY_CODE[self.exit_code != 0]


class RunFailed(Event):
    """The run could not continue (configuration, secret, defect). `remedy` is what to do next."""

    name: ClassVar[str] = "run.failed"
    level: ClassVar[str] = "error"
    exit_code: int
    error: str
    remedy: str | None = None


class Interrupted(Event):
    """SIGTERM, SIGINT or SIGHUP arrived: nothing new is triggered, running jobs are cancelled or detached."""

    name: ClassVar[str] = "run.interrupted"
    level: ClassVar[str] = "warning"
    signal: str
    action: str


class SettingRenamed(Event):
    """A setting is given by its old name, which the next version no longer accepts."""

    name: ClassVar[str] = "settings.renamed"
    level: ClassVar[str] = "warning"
    old: str
    new: str
    source: str


class SecretWarning(Event):
    """A secret is usable but stored in a way that should change (environment, readable by every user)."""

    name: ClassVar[str] = "secret.warning"
    level: ClassVar[str] = "warning"
    secret: str
    warning: str


class SessionReused(Event):
    """A cached token is still valid: no login."""

    name: ClassVar[str] = "session.reused"
    expires_in_seconds: float | None = None


class LoggedIn(Event):
    """A session was obtained. `method` is `login` or `refresh`."""

    name: ClassVar[str] = "session.started"
    method: str
    mfa: bool
    duration_seconds: float
    expires_in_seconds: float | None = None


class LoginFailed(Event):
    """A refresh or a login did not return a session."""

    name: ClassVar[str] = "session.failed"
    level: ClassVar[str] = "warning"
    method: str
    error: str


class SecretsRotated(Event):
    """A login was refused, and the mounted secrets have changed since they were read: it is retried with the new ones."""

    name: ClassVar[str] = "login.secrets_rotated"


class CodeWait(Event):
    """The runner waits for a code. `reason`: `used` and `ending` (waits for the next time step), `message` (waits at most
    this long for an e-mail).
    """

    name: ClassVar[str] = "login.code_wait"
    wait_seconds: float
    reason: str


class CodeWanted(Event):
    """A login waits for a person: submit a one-time code with `sync-runner submit-code CODE`. After `timeout_seconds` the
    login ends with exit code 3.
    """

    name: ClassVar[str] = "login.code_wanted"
    level: ClassVar[str] = "warning"
    timeout_seconds: float


class CodeWaitEnded(Event):
    """A login no longer waits for a person. `received`: a code was submitted."""

    name: ClassVar[str] = "login.code_wait_ended"
    received: bool


class SessionEnds(Event):
    """The session ends in this many seconds, and the next login needs a person: `sync-runner login` on a terminal."""

    name: ClassVar[str] = "session.ends"
    ends_in_seconds: float


class ClockSkew(Event):
    """The server's clock differs from ours by `skew_seconds` (server minus local); codes use the server's clock."""

    name: ClassVar[str] = "login.clock_skew"
    level: ClassVar[str] = "warning"
    skew_seconds: float


class CooldownStarted(Event):
    """A login was refused: until the cool-down ends, no process tries a login."""

    name: ClassVar[str] = "login.cooldown"
    level: ClassVar[str] = "warning"
    cooldown_seconds: float
    failures: int


class StoreProblem(Event):
    """The session store or the ledger could not be read or written; the run continues without it."""

    name: ClassVar[str] = "state.problem"
    level: ClassVar[str] = "warning"
    error: str


class RequestDone(Event):
    """One HTTP exchange ended. `code` is the status, or `error` without a response."""

    name: ClassVar[str] = "http.request"
    level: ClassVar[str] = "debug"
    endpoint: str
    code: str
    attempt: int
    duration_seconds: float
    error: str | None = None


class RetryScheduled(Event):
    """A request is retried after `wait_seconds`. `reason`: connect, timeout, reset, rate_limited, server_error."""

    name: ClassVar[str] = "http.retry"
    level: ClassVar[str] = "warning"
    endpoint: str
    reason: str
    attempt: int
    wait_seconds: float


class SyncStarted(Event):
    """A sync starts; its trigger is about to be sent."""

    name: ClassVar[str] = "sync.started"
    start_date: str | None = None
    end_date: str | None = None
    attempt: int = 1


class SyncTriggered(Event):
    """The API accepted the trigger. `adopted`: the job was already running and is polled instead of a new one."""

    name: ClassVar[str] = "sync.triggered"
    job_id: str
    adopted: bool = False


class TriggerDoubt(Event):
    """The trigger's response was lost: the job is looked up before anything is sent again."""

    name: ClassVar[str] = "sync.trigger_doubt"
    level: ClassVar[str] = "warning"
    error: str


class SyncProgress(Event):
    """The job's status. Every poll is an event; the log shows new states, and others as `log.progress_step` and
    `log.progress_every` allow.
    """

    name: ClassVar[str] = "sync.progress"
    job_id: str
    status: str
    progress: float | None = None
    processed_items: int | None = None
    total_items: int | None = None


class SyncRequeued(Event):
    """The API put a running job back into its queue; it still counts as running."""

    name: ClassVar[str] = "sync.requeued"
    job_id: str


class FieldUnreadable(Event):
    """An informational value of the job is unreadable and left out; reported once per field of a sync."""

    name: ClassVar[str] = "sync.field_unreadable"
    level: ClassVar[str] = "warning"
    job_id: str
    field: str


class ListIncomplete(Event):
    """A listing of jobs is incomplete: it has unreadable entries, or is too large. Each is reported once."""

    name: ClassVar[str] = "sync.list_incomplete"
    level: ClassVar[str] = "warning"
    problem: str


class PollFailed(Event):
    """A poll or a listing got no response from the API; only the first of several in a row is reported. Polling continues."""

    name: ClassVar[str] = "sync.poll_failed"
    level: ClassVar[str] = "warning"
    error: str
    wait_seconds: float


class SyncStalled(Event):
    """The job showed no progress for the set time; polling continues until the deadline."""

    name: ClassVar[str] = "sync.stalled"
    level: ClassVar[str] = "warning"
    job_id: str
    stalled_seconds: float


class SyncEnded(Event):
    """A sync ended; `result` is one of the outcomes in the README. A sync that did not complete is an error, with the next
    step as `remedy`; a skipped sync is a warning. `note` says why nothing was done.
    """

    name: ClassVar[str] = "sync.ended"
    levels: ClassVar[tuple[str, ...]] = ("info", "warning", "error")
    result: str
    duration_seconds: float
    attempts: int
    job_id: str | None = None
    error: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    remedy: str | None = None
    note: str | None = None

    @classmethod
    def of(cls, ended: SyncResult) -> "SyncEnded":
        """Builds the event for the end of a sync with this result."""
        job = ended.job
        return cls(
            ended.outcome.value,
            round(ended.duration, 3),
            ended.attempts,
            job_id=job.shown_id if job else None,
            error=ended.error,
            processed_items=job.processed_items if job else None,
            total_items=job.total_items if job else None,
            remedy=MEANINGS[ended.outcome].remedy or None,
            note=ended.note,
        )

    @property
    def severity(self) -> str:
        """The level of the outcome."""
        return next((MEANINGS[one].severity for one in Outcome if one == self.result), "error")


class SyncRetried(Event):
    """The job failed at the server and is triggered again, as configured."""

    name: ClassVar[str] = "sync.retried"
    level: ClassVar[str] = "warning"
    attempt: int
    error: str | None = None


class CancelSent(Event):
    """A cancel was requested at the API; `status` is the job's state in its response."""

    name: ClassVar[str] = "sync.cancel"
    job_id: str
    status: str | None = None
    error: str | None = None


class SyncLog(Event):
    """One line of the job's log: the last 50 of a failed job, or what `logs.show` selects."""

    name: ClassVar[str] = "sync.log"
    job_id: str
    line: str


class OutputUnread(Event):
    """A job's log, results or files (`output`) could not be fetched, or only in part. The sync's outcome is unchanged."""

    name: ClassVar[str] = "sync.output_unread"
    level: ClassVar[str] = "warning"
    job_id: str
    output: str
    error: str


class ArtifactStored(Event):
    """A file of the job was downloaded to `path`. `size` is in bytes."""

    name: ClassVar[str] = "sync.artifact"
    job_id: str
    path: str
    size: int
    duration_seconds: float


class LogDropped(Event):
    """Standard error was not read for a while: this many lines were dropped here."""

    name: ClassVar[str] = "log.dropped"
    level: ClassVar[str] = "warning"
    lines: int


class EmitFailed(Event):
    """Metrics, report or termination message could not be delivered; the exit code is unchanged."""

    name: ClassVar[str] = "emit.failed"
    level: ClassVar[str] = "warning"
    target: str
    error: str


ALL: tuple[type[Event], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Event) and value is not Event
)
