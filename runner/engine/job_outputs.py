"""The run's one client for logs, results and files of jobs: created on first use, closed at the run's end."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from runner.engine.account import RunContext, side_client
from runner.jobs.context import OutputPolicy

if TYPE_CHECKING:
    from runner.http.streaming import SideClient


def output_policy(context: RunContext, stack: AsyncExitStack) -> OutputPolicy:
    """Returns what is fetched of jobs in addition to their status; `stack` closes what it opens."""
    made: list[SideClient] = []

    def client() -> "SideClient":
        if not made:
            made.append(side_client(context))
            stack.push_async_callback(made[0].close)
        return made[0]

    return OutputPolicy(context.settings.logs, context.settings.artifacts, client)
