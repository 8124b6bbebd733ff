"""Data that the syncs of one account share."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.clock import Clock
from runner.frozen import Frozen
from runner.jobs.api import JobApi
from runner.jobs.leases import Leases
from runner.jobs.pacing import Pace, PollBudget
from runner.settings.output_sections import ArtifactsSettings, LogsSettings
from runner.state.interface import JobLedger

if TYPE_CHECKING:
    from runner.http.streaming import SideClient


class PollPolicy(Frozen):
    """How jobs are polled and retried. Times in seconds."""

    pace: Pace = Pace()
    stall: float = 600.0
    job_attempts: int = 1
    sync_seconds: float | None = 3600.0
    patience: float = 600.0


@dataclass(slots=True)
class OutputCounts:
    """Counts of the whole run: logs read for the last lines of failed jobs, and logs that are followed now."""

    read: int = 0
    followed: int = 0


class OutputPolicy(Frozen):
    """What is fetched of jobs in addition to their status. `client` returns the run's one client, created on first use."""

    logs: LogsSettings
    artifacts: ArtifactsSettings
    client: "Callable[[], SideClient]"
    counts: OutputCounts = field(default_factory=OutputCounts)


class SyncContext(Frozen):
    """Data that one account's syncs share. `target` names base URL and user in the ledger, `run_key` the scheduler's
    run.

    A signal cancels what is `interruptible`: the work of a sync, but never its end.
    """

    account: str
    target: str
    run_id: str
    api: JobApi
    ledger: JobLedger
    clock: Clock
    poll_policy: PollPolicy
    cancel_on_interrupt: bool = True
    poll_budget: PollBudget = field(default_factory=PollBudget)
    interruptible: "set[asyncio.Task[Any]]" = field(default_factory=set)
    run_key: str | None = None
    outputs: OutputPolicy | None = None
    leases: Leases = field(default_factory=Leases)  # of the whole run
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)  # the lease holder in the ledger
