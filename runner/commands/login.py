"""`login`: have a session and keep it for the next run."""

import argparse

from runner.engine.each_account import Visit, visit_each
from runner.errors import StateError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--force", action="store_true", help="drop the kept session and any cool-down first")


def execute(arguments: argparse.Namespace) -> int:
    """Log in each account where its kept session is not good."""

    async def work(visit: Visit) -> None:
        if not visit.settings.state.lasting:
            raise UsageError("login: a session is kept only with a state directory; give --state-dir (state.dir)")
        if arguments.force:
            await visit.account.provider.forget(visit.deadline, cooldown=True)
        await visit.account.provider.session(visit.deadline, visit.observer)
        kept = await visit.account.provider.read_state(visit.deadline)
        if kept.session is None and not visit.account.provider.static:
            raise StateError("login: the session was not kept; the log says why")

    return visit_each(arguments, work)
