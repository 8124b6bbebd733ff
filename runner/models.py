"""The data model: tokens, sessions, jobs, results. Plain frozen data without logic."""

from dataclasses import field
from enum import StrEnum
from typing import Any

from runner.external import ExternalText, show
from runner.frozen import Frozen

MAX_ID = 512  # characters of a job id: it goes into addresses and log lines
MAX_ERROR = 2000  # maximum shown characters of a job's error
JSON = Any  # a decoded JSON value: its shape is checked where it is read, by the profile


class JobStatus(StrEnum):
    """The five states of a sync job (data model, State Transitions)."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether this state is final."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

    def reaches(self, later: "JobStatus") -> bool:
        """Whether a job in this state can be in `later` at a later poll: the same, or along `TRANSITIONS`, since polls
        may miss some."""
        return later is self or any(step.reaches(later) for before, step in TRANSITIONS if before is self)


TRANSITIONS = (  # the five of the data model, no others
    (JobStatus.PENDING, JobStatus.RUNNING),
    (JobStatus.RUNNING, JobStatus.COMPLETED),
    (JobStatus.RUNNING, JobStatus.FAILED),
    (JobStatus.PENDING, JobStatus.CANCELLED),
    (JobStatus.RUNNING, JobStatus.CANCELLED),
)


class Outcome(StrEnum):
    """The outcome of one sync of the run."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # never triggered: a dependency failed, the run stopped, or the API is down
    DEADLINE = "deadline"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    CONTRACT = "contract"
    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"  # something that settings name is unusable, such as a state directory
    INTERRUPTED = "interrupted"
    DEFECT = "defect"


class AuthenticationToken(Frozen):
    """The credential of requests (data model: Authentication Token).

    A value that the API does not report has no key in the profile; its substitute is given below.
    """

    token_id: str
    """The API's name for the token (`session.token_id`), else an irreversible fingerprint made here."""
    access_token: str
    """The sent value (`session.access_token`). A secret: never shown."""
    user_id: str | None = None
    """The user of the token (`session.user_id`); None: not reported."""
    token_type: str = "Bearer"
    """How the token is sent (`session.token_type`); `Bearer` where not reported."""
    expires_in: float | None = None
    """Lifetime in seconds from `created_at` (`session.expires_in`); None: not reported."""
    scope: str | None = None
    """Permissions, as the API writes them (`session.scope`); None: not reported."""
    created_at: float = 0.0
    """When the request for the token was sent, in Unix seconds: the earliest time it can have been issued."""
    last_used_at: float = 0.0
    """When a request last carried the token, in Unix seconds; written at the end of a run."""
    mfa_verified: bool = False
    """Whether a one-time code was accepted in the login for the token."""

    def __repr__(self) -> str:
        """Never shows the token: a repr may end up in a traceback."""
        return f"AuthenticationToken(token_id={self.token_id!r}, expires_in={self.expires_in!r})"


class UserSession(Frozen):
    """One authenticated user (data model: User Session), with its one primary token. It has many sync jobs.

    Valid until `expires_at`, and invalid from then on; renewed where there is a refresh token.
    """

    token: AuthenticationToken
    """The primary token."""
    session_id: str = ""
    """The API's name for the session (`session.session_id`), else one made here when the session began."""
    user_id: str | None = None
    """The authenticated user (`session.user_id`); None: not reported."""
    refresh_token: str | None = None
    """The secret that renews the session (`session.refresh_token`): never shown. None: a login renews it."""
    expires_at: float | None = None
    """End of the session's token in Unix seconds (`session.expires_at`, or from `expires_in`); None: not reported."""
    mfa_enabled: bool = False
    """Whether this session's login needs a second factor (`session.mfa_enabled`, else whether a code was sent)."""
    created_at: float = 0.0
    """When the session began, in Unix seconds; a renewal does not change it."""
    last_used_at: float = 0.0
    """When a request last used the session, in Unix seconds; written at the end of a run."""
    carried: dict[str, str] = field(default_factory=dict)
    """Further values of the login for later requests, such as a CSRF token, by the profile's names."""

    @property
    def access_token(self) -> str:
        """The primary token's text."""
        return self.token.access_token

    def valid_at(self, now: float) -> bool:
        """Whether the session is valid at `now` (Unix seconds): until `expires_at`, if that is known."""
        return self.expires_at is None or now < self.expires_at

    def __repr__(self) -> str:
        """Never shows the tokens: a repr may end up in a traceback."""
        return f"UserSession(session_id={self.session_id!r}, expires_at={self.expires_at!r})"


class SyncJob(Frozen):
    """A sync job as the API last reported it (data model: Sync Job), read by the keys of `jobs.fields` in the profile."""

    job_id: ExternalText
    """The API's name for the job; where the API has none, the idempotency key of its trigger."""
    status: JobStatus
    """Its state, translated by `jobs.words`."""
    sync_type: ExternalText | str | None = None
    """What is synced, in the words of the settings."""
    user_id: ExternalText | None = None
    """The user who started it; None: not reported."""
    progress: float | None = None
    """Per cent, 0 to 100; None: not reported."""
    start_time: ExternalText | None = None
    """When it started, as the API writes times; None: not started, or not reported."""
    end_time: ExternalText | None = None
    """When it ended; None: not ended, or not reported."""
    error_message: ExternalText | None = None
    """Why it failed, in the API's words; None: no error, or not reported."""
    total_items: int | None = None
    """Total number of items; None: not reported."""
    processed_items: int | None = None
    """Number of processed items; None: not reported."""
    poll_after: float | None = None
    """Seconds after which the API asks to be polled again (Retry-After)."""
    carried: dict[str, JSON] = field(default_factory=dict)
    """Values of the trigger's response for later requests, by the profile's names."""
    begun_at: float | None = None
    """When its trigger was sent, by the monotonic clock; None: it was already running."""
    unreadable: tuple[str, ...] = ()
    """The fields that the API reported in an unreadable form; they are None."""

    @property
    def shown_id(self) -> str:
        """The job id, printable."""
        return show(self.job_id, MAX_ID)

    @property
    def shown_error(self) -> str | None:
        """Why it failed, printable."""
        return None if self.error_message is None else show(self.error_message, MAX_ERROR)


class Artifact(Frozen):
    """One file of a job: its local path, or why it was not stored. `size` is in bytes."""

    name: str
    path: str | None = None
    size: int | None = None
    sha256: str | None = None
    error: str | None = None


class SyncResult(Frozen):
    """The result of one planned sync, for the report, the metrics and the exit code. Durations are in seconds."""

    account: str
    name: str
    sync_type: str
    outcome: Outcome
    job: SyncJob | None = None
    error: str | None = None
    started_at: float | None = None
    duration: float = 0.0
    attempts: int = 0
    adopted: bool = False
    note: str | None = None  # the note on a success without a job of this run
    hopeless: bool = False  # its cause ends every other sync of the account too
    log: tuple[str, ...] = ()  # the last lines of the job's log, printable
    log_file: str | None = None
    results: dict[str, JSON] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()


class AccountResult(Frozen):
    """The result of one account's syncs: the exit code of a run of it alone.

    `user_id` and `session_id` identify the session; None where there was none, or the API does not report them.
    """

    account: str
    exit_code: int
    completed: int
    total: int
    user_id: str | None = None
    session_id: str | None = None


class RunResult(Frozen):
    """The whole run, for report and metrics. Times are Unix seconds; `shard` names its part of the accounts."""

    run_id: str
    exit_code: int
    started_at: float
    ended_at: float
    base_url: str
    profile: str
    results: tuple[SyncResult, ...] = ()
    errors: tuple[str, ...] = ()
    accounts: tuple[AccountResult, ...] = ()
    shard: str | None = None
