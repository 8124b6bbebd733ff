"""`logout`: drop the kept session; the record of used codes stays, so that none is used twice."""

import argparse

from runner.engine.each_account import Visit, visit_each


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def execute(arguments: argparse.Namespace) -> int:
    """Forget each account's session."""

    async def work(visit: Visit) -> None:
        await visit.account.provider.forget(visit.deadline, cooldown=False)

    return visit_each(arguments, work)
