"""The vocabulary of the state machine that runs one sync: phases, events, actions, state. Data only; `decide` has the rules."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from runner.errors import RunnerError
from runner.external import ExternalText
from runner.frozen import Frozen
from runner.models import JobStatus, SyncJob


class Phase(StrEnum):
    """The current work of the sync."""

    RECALL = "recall"  # reads the ledger
    RESUME = "resume"  # polls the job of an earlier run
    TRACE = "trace"  # searches for the job of an earlier run's trigger
    INTEND = "intend"  # writes the intent
    AWAIT_IDLE = "wait for idle"  # waits until the one job of the API has ended
    TRIGGER = "trigger"  # the trigger is in flight, or waits for a retry
    IDENTIFY = "identify"  # polls the job that a conflict names
    MATCH = "match"  # searches for the job of a conflict that names none
    SEARCH = "search"  # searches for the job of a trigger in doubt
    POLL = "poll"  # polls the job
    SETTLE = "settle"  # stopped: determines the result of the trigger
    LOOK = "look"  # stopped: polls the job before it is cancelled
    CANCEL = "cancel"  # stopped: the cancel is in flight
    CONFIRM = "confirm"  # stopped: polls the job after the cancel
    END = "end"


class Do(StrEnum):
    """The driver's actions. The last of several returns the next event."""

    RECALL = "read the ledger"
    INTEND = "write the intent"
    TRIGGER = "trigger"
    POLL = "poll"
    LIST = "list"
    AWAIT = "wait for the trigger's answer"
    CANCEL = "cancel"
    KEEP = "write the job down"
    KEEP_OURS = "write the job down as ours"
    KEEP_THEIRS = "write the job down as another's"
    CLOSE = "close the ledger's entry"
    RETRY = "count the attempt"
    AS_POLLED = "go on as after a poll"
    END_AS_JOB = "end as the job did"
    END_DONE = "end: done by an earlier try"
    END_ERROR = "end with the error"
    END_UNKNOWN = "end: unknown"
    END_STOPPED = "end: stopped"


class Why(StrEnum):
    """What stopped a sync before its job ended."""

    SIGNAL = "signal"
    DEADLINE = "deadline"


class Facts(Frozen):
    """What stays the same during a sync: the API's abilities and the settings. Times in seconds.

    `key_seconds`: how long the API recognises a repeated trigger by its key; 0 where it does not.
    """

    sync_type: str = ""
    key_seconds: float = 0.0
    names_job: bool = False
    lists: bool = False
    cancels: bool = False
    job_attempts: int = 1
    patience: float = 600.0
    cancel_on_interrupt: bool = True


class State(Frozen):
    """The known state of the sync. Times are by the monotonic clock.

    `ours`: the run may cancel the job. `lost` counts the lost responses to the current trigger.
    """

    phase: Phase = Phase.RECALL
    attempt: int = 1
    key: str | None = None
    earlier: bool = False  # the key is an earlier run's
    same_run: bool = False  # that run was a try of this one
    retyped: bool = False  # in that run the sync had another type: its job is not this sync's
    job: SyncJob | None = None
    ours: bool = False
    external: bool = False  # another's job: never ours
    adopted: bool = False
    named: ExternalText | None = None  # the job that a conflict names
    lost: int = 0
    refused: int = 0
    searched: int = 0
    failures: int = 0  # failed polls and listings in a row
    misfits: int = 0  # of them, those with a response from the API itself
    good_at: float = 0.0
    since: float = 0.0  # when the trigger was sent
    missing_since: float | None = None
    linger: int = 0  # polls to wait, because another's job runs or just ended
    before: SyncJob | None = None  # what the status showed before the trigger, at an API without ids
    ended: Mapping[ExternalText, JobStatus] = field(default_factory=dict)  # the jobs of earlier attempts
    in_flight: bool = False
    stopped: Why | None = None
    watched: bool = False  # another run polls the job too
    asked_to_cancel: bool = False
    cancel_error: RunnerError | None = None
    problem: RunnerError | None = None

    @property
    def doubtful(self) -> bool:
        """Whether there may be an unknown job."""
        return self.job is None and (self.lost > 0 or self.in_flight)


class Event(Frozen):
    """An event, at a time of the monotonic clock."""

    at: float


class Recalled(Event):
    """The ledger's content: an open entry, or the sync as completed by an earlier try of this run.

    `age` in seconds since the intent; `held`: another live process polls the job; `retyped`: the sync had another type then.
    """

    key: str | None = None
    job: SyncJob | None = None
    age: float = 0.0
    done: bool = False
    held: bool = False
    external: bool = False
    same_run: bool = False
    retyped: bool = False


class Intended(Event):
    """The intent is written."""

    key: str


class Begun(Event):
    """The API accepted the trigger."""

    job: SyncJob


class AlreadyRuns(Event):
    """The API refused the trigger, because such a job already runs; it may name the job."""

    error: RunnerError
    job_id: ExternalText | None = None


class Lost(Event):
    """The trigger may have been accepted: its response was lost."""

    error: RunnerError
    pause: float = 0.0  # seconds that the API asks to wait


class Rejected(Event):
    """The trigger was certainly not accepted."""

    error: RunnerError


class Exhausted(Event):
    """No time or retry is left to send the trigger again."""


class StillOut(Event):
    """The trigger's response has not arrived yet."""


class Seen(Event):
    """A poll showed the job; None: the API shows no job.

    `of_trigger`: its id or its times identify it as our trigger's job. `leased`: whether its lease is ours; None: not
    known. `foreign`: it is of another type, or another user's.
    """

    job: SyncJob | None
    of_trigger: bool = False
    leased: bool | None = None
    foreign: bool = False


class Found(Event):
    """A listing showed the job of our trigger, and the first running job; `doubtful`: a job cannot be identified.

    `queued`: its start may identify it.
    """

    ours: SyncJob | None = None
    running: SyncJob | None = None
    doubtful: bool = False
    queued: bool = False


class Missing(Event):
    """The API said that it has no such job."""

    error: RunnerError


class Replaced(Event):
    """The API responded with another job."""

    error: RunnerError


class Unclear(Event):
    """A poll or a listing got no response from the API: no connection, a failing server, another system's page."""

    error: RunnerError
    pause: float = 0.0  # seconds that the API asks to wait


class Misfit(Event):
    """The API's response does not fit the profile."""

    error: RunnerError


class Broken(Event):
    """An error that a retry cannot resolve."""

    error: RunnerError


class Stopped(Event):
    """A signal or the deadline. `in_flight`: the trigger's response is still pending; `lost`: it no longer is."""

    why: Why
    in_flight: bool = False
    lost: bool = False


class CancelAnswered(Event):
    """The API accepted the cancel; the job as it then reports it, if it does."""

    job: SyncJob | None = None


class CancelRefused(Event):
    """The API refused the cancel, or it failed."""

    error: RunnerError


class Watched(Event):
    """Another run polls the job that was to be cancelled: it is left to that run."""


class TimeUp(Event):
    """The time to settle, cancel and confirm is over."""


class Action(Frozen):
    """The next action, after a pause in seconds; None: when the job's pace asks for it."""

    do: tuple[Do, ...]
    after: float | None = 0.0


def job_of(event: Event) -> SyncJob | None:
    """The job that an event shows."""
    if isinstance(event, Found):
        return event.ours or event.running
    return event.job if isinstance(event, Begun | Seen) else None
