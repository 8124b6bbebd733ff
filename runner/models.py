"""The data model: tokens, sessions, jobs, results. Plain frozen data; what decides and what sends stands elsewhere."""

from dataclasses import field
from enum import StrEnum
from typing import Any

from runner.frozen import Frozen

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
        """Whether nothing may follow this state."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Outcome(StrEnum):
    """How one sync of the run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # never triggered: a dependency failed, the run stopped, or the API is down
    DEADLINE = "deadline"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    CONTRACT = "contract"
    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"  # something that settings name can not be used, such as a state directory
    INTERRUPTED = "interrupted"
    DEFECT = "defect"


class Session(Frozen):
    """One authenticated user and the token that goes with it. `expires_at` is in Unix seconds; None: not told.

    Covers the data model's Authentication Token and User Session, which are one to one.
    """

    access_token: str
    token_type: str = "Bearer"
    refresh_token: str | None = None
    expires_at: float | None = None
    created_at: float = 0.0
    last_used_at: float = 0.0
    session_id: str | None = None
    user_id: str | None = None
    scope: str | None = None
    mfa_verified: bool = False
    carried: dict[str, str] = field(default_factory=dict)  # what the login gave beside the token, such as a CSRF token

    def __repr__(self) -> str:
        """Never shows the tokens: a repr ends up in tracebacks."""
        return f"Session(session_id={self.session_id!r}, expires_at={self.expires_at!r})"


class Job(Frozen):
    """A sync job as the API last described it. `progress` is in per cent, None when not told."""

    job_id: str
    status: JobStatus
    sync_type: str | None = None
    user_id: str | None = None
    progress: float | None = None
    start_time: str | None = None
    end_time: str | None = None
    error_message: str | None = None
    total_items: int | None = None
    processed_items: int | None = None
    poll_after: float | None = None  # seconds after which the API asks to look again (Retry-After)
    carried: dict[str, str] = field(default_factory=dict)  # what the trigger's answer gave for later requests
    begun_at: float | None = None  # when the trigger left that began it, by the monotonic clock; None: it ran already


class SyncResult(Frozen):
    """How one planned sync ended, for the report, the metrics and the exit code. Durations are in seconds."""

    account: str
    name: str
    sync_type: str
    outcome: Outcome
    job: Job | None = None
    error: str | None = None
    started_at: float | None = None
    duration: float = 0.0
    attempts: int = 0
    adopted: bool = False


class AccountResult(Frozen):
    """How one account's syncs ended together: the code that a run of it alone would have left with."""

    account: str
    exit_code: int
    completed: int
    total: int


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
