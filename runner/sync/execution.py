"""What the syncs of one account share. Data only."""

import asyncio
from dataclasses import field
from typing import Any

from runner.clock import Clock
from runner.frozen import Frozen
from runner.ledger import Ledger
from runner.sync.jobs import JobApi
from runner.sync.pace import Crowd, Pace


class Watching(Frozen):
    """How jobs are watched and tried again. Times in seconds."""

    pace: Pace = Pace()
    stall: float = 600.0
    job_attempts: int = 1
    sync_seconds: float | None = 3600.0


class Execution(Frozen):
    """What one account's syncs share. `target` names base URL and user in the ledger.

    A signal cancels what is `interruptible`: the work of a sync, and never its end.
    """

    account: str
    target: str
    run_id: str
    api: JobApi
    ledger: Ledger
    clock: Clock
    watching: Watching
    cancel_on_interrupt: bool = True
    crowd: Crowd = field(default_factory=Crowd)
    interruptible: "set[asyncio.Task[Any]]" = field(default_factory=set)
