"""What the syncs of one account share. Data only."""

import asyncio
import uuid
from dataclasses import field
from typing import Any

from runner.clock import Clock
from runner.frozen import Frozen
from runner.jobs.api import JobApi
from runner.jobs.pacing import Pace, PollBudget
from runner.state.interface import JobLedger


class PollPolicy(Frozen):
    """How jobs are watched and tried again. Times in seconds."""

    pace: Pace = Pace()
    stall: float = 600.0
    job_attempts: int = 1
    sync_seconds: float | None = 3600.0
    patience: float = 600.0


class SyncContext(Frozen):
    """What one account's syncs share. `target` names base URL and user in the ledger, `run_key` what a scheduler tries again.

    A signal cancels what is `interruptible`: the work of a sync, and never its end.
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
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)  # who polls the jobs, in the ledger's leases
