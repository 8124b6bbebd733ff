"""Every event the runner tells, each with its name, level and fields. Durations are in seconds, progress in per cent.

`docs/events.md` is written from this module. A field that is None is left out of the log line.
"""

from collections.abc import Sequence
from typing import ClassVar

from runner.errors import ExitCode
from runner.events.observer import Event
from runner.models import Outcome, SyncResult
from runner.outcomes import MEANINGS

NAMED = 50  # failed syncs that `run.ended` names at most: a log line has to stay one that can be read
_BY_CODE = ("info", "error")


class RunStarted(Event):
    """The configuration is read and the run begins."""

    name: ClassVar[str] = "run.started"
    version: str
    base_url: str
    profile: str
    accounts: int
    syncs: int
    shard: str | None = None


class AccountEnded(Event):
    """All syncs of an account are over; logged where there are several. `exit_code` is that of a run of it alone."""

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
    """The run is over; `exit_code` is what the process leaves with, `result` its meaning, `remedy` what to do next.
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
        """The end of a run that took so many seconds."""
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
    """The run could not go on at all (configuration, secret, defect). `remedy` is what to do next."""

    name: ClassVar[str] = "run.failed"
    level: ClassVar[str] = "error"
    exit_code: int
    error: str
    remedy: str | None = None


class Interrupted(Event):
    """SIGTERM, SIGINT or SIGHUP arrived: nothing new is triggered, what runs is cancelled or detached."""

    name: ClassVar[str] = "run.interrupted"
    level: ClassVar[str] = "warning"
    signal: str
    action: str


class SettingRenamed(Event):
    """A setting is given by its old name, which the next version no longer knows."""

    name: ClassVar[str] = "settings.renamed"
    level: ClassVar[str] = "warning"
    old: str
    new: str
    source: str


class SecretWarning(Event):
    """A secret is usable but kept in a way that should change (environment, readable by others)."""

    name: ClassVar[str] = "secret.warning"
    level: ClassVar[str] = "warning"
    secret: str
    warning: str


class SessionReused(Event):
    """A cached token is still valid: no login."""

    name: ClassVar[str] = "session.reused"
    expires_in_seconds: float | None = None


class LoggedIn(Event):
    """A session was had. `method` is `login` or `refresh`."""

    name: ClassVar[str] = "session.started"
    method: str
    mfa: bool
    duration_seconds: float
    expires_in_seconds: float | None = None


class LoginFailed(Event):
    """A refresh or a login did not give a session."""

    name: ClassVar[str] = "session.failed"
    level: ClassVar[str] = "warning"
    method: str
    error: str


class SecretsRotated(Event):
    """A login was refused, and the mounted secrets have changed since they were read: it is tried with the new ones."""

    name: ClassVar[str] = "login.secrets_rotated"


class CodeWait(Event):
    """The runner waits for a code. `reason`: `used` and `ending` (the next time step's is waited for), `message` (an e-mail
    is waited for, so long at most).
    """

    name: ClassVar[str] = "login.code_wait"
    wait_seconds: float
    reason: str


class CodeWanted(Event):
    """A login waits for a person: hand over a one-time code with `sync-runner submit-code CODE`. After `timeout_seconds` it
    gives up, with code 3.
    """

    name: ClassVar[str] = "login.code_wanted"
    level: ClassVar[str] = "warning"
    timeout_seconds: float


class CodeWaitEnded(Event):
    """A login waits for a person no more. `received`: a code was handed over."""

    name: ClassVar[str] = "login.code_wait_ended"
    received: bool


class SessionEnds(Event):
    """The session ends in so many seconds, and the next login needs a person: `sync-runner login` at a terminal."""

    name: ClassVar[str] = "session.ends"
    ends_in_seconds: float


class ClockSkew(Event):
    """The server's clock differs from ours by `skew_seconds` (server minus local); codes are made for the server's."""

    name: ClassVar[str] = "login.clock_skew"
    level: ClassVar[str] = "warning"
    skew_seconds: float


class CooldownStarted(Event):
    """A refused login: until the cool-down is over, no login is tried, by any process."""

    name: ClassVar[str] = "login.cooldown"
    level: ClassVar[str] = "warning"
    cooldown_seconds: float
    failures: int


class StoreProblem(Event):
    """The token store or the ledger could not be read or written; the run goes on without it."""

    name: ClassVar[str] = "state.problem"
    level: ClassVar[str] = "warning"
    error: str


class RequestDone(Event):
    """One HTTP exchange ended. `code` is the status, or `error` where no answer came."""

    name: ClassVar[str] = "http.request"
    level: ClassVar[str] = "debug"
    endpoint: str
    code: str
    attempt: int
    duration_seconds: float
    error: str | None = None


class RetryScheduled(Event):
    """A request is sent again after `wait_seconds`. `reason`: connect, timeout, reset, rate_limited, server_error."""

    name: ClassVar[str] = "http.retry"
    level: ClassVar[str] = "warning"
    endpoint: str
    reason: str
    attempt: int
    wait_seconds: float


class SyncStarted(Event):
    """A sync's turn has come; the trigger is about to be sent."""

    name: ClassVar[str] = "sync.started"
    start_date: str | None = None
    end_date: str | None = None
    attempt: int = 1


class SyncTriggered(Event):
    """The API took the trigger. `adopted`: the job was running already and is watched instead of a new one."""

    name: ClassVar[str] = "sync.triggered"
    job_id: str
    adopted: bool = False


class TriggerDoubt(Event):
    """The trigger's answer was lost: it is looked up before anything is sent again."""

    name: ClassVar[str] = "sync.trigger_doubt"
    level: ClassVar[str] = "warning"
    error: str


class SyncProgress(Event):
    """The job moved on. Every status answer is told; the log shows new states, and else what `log.progress_step` and
    `log.progress_every` let through.
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
    """A value of the job that only informs cannot be read and is left out; reported once for each field of a sync."""

    name: ClassVar[str] = "sync.field_unreadable"
    level: ClassVar[str] = "warning"
    job_id: str
    field: str


class ListIncomplete(Event):
    """A listing of jobs was not read whole: entries that cannot be read are left out, or it is too large. Told once each."""

    name: ClassVar[str] = "sync.list_incomplete"
    level: ClassVar[str] = "warning"
    problem: str


class PollFailed(Event):
    """A poll or a listing gave no answer of the API; the first of several in a row is reported. The runner goes on polling."""

    name: ClassVar[str] = "sync.poll_failed"
    level: ClassVar[str] = "warning"
    error: str
    wait_seconds: float


class SyncStalled(Event):
    """No progress for the set time; the runner goes on watching until the deadline."""

    name: ClassVar[str] = "sync.stalled"
    level: ClassVar[str] = "warning"
    job_id: str
    stalled_seconds: float


class SyncEnded(Event):
    """A sync is over; `result` is one of the outcomes in the README. One that did not complete is an error, with what to do
    next as `remedy`; one that was skipped is a warning. `note` says why nothing was done.
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
        """The end of a sync with this result."""
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
        """That of the outcome."""
        return next((MEANINGS[one].severity for one in Outcome if one == self.result), "error")


class SyncRetried(Event):
    """The job failed at the server and is triggered again, as the settings ask."""

    name: ClassVar[str] = "sync.retried"
    level: ClassVar[str] = "warning"
    attempt: int
    error: str | None = None


class CancelSent(Event):
    """The API was asked to cancel the job; `status` is the job's state in its answer."""

    name: ClassVar[str] = "sync.cancel"
    job_id: str
    status: str | None = None
    error: str | None = None


class SyncLog(Event):
    """One line of the job's own log: of a job that failed the last 50, or what `logs.show` asks for."""

    name: ClassVar[str] = "sync.log"
    job_id: str
    line: str


class OutputUnread(Event):
    """A job's log, results or files (`output`) could not be fetched, or not whole. How the sync ended stays as it is."""

    name: ClassVar[str] = "sync.output_unread"
    level: ClassVar[str] = "warning"
    job_id: str
    output: str
    error: str


class ArtifactStored(Event):
    """A file that the job left is here, at `path`. `size` is in bytes."""

    name: ClassVar[str] = "sync.artifact"
    job_id: str
    path: str
    size: int
    duration_seconds: float


class LogDropped(Event):
    """Nobody read standard error for a while: so many lines that would stand here were dropped."""

    name: ClassVar[str] = "log.dropped"
    level: ClassVar[str] = "warning"
    lines: int


class EmitFailed(Event):
    """Metrics, report or termination message could not be delivered; the exit code stays as it is."""

    name: ClassVar[str] = "emit.failed"
    level: ClassVar[str] = "warning"
    target: str
    error: str


ALL: tuple[type[Event], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Event) and value is not Event
)
