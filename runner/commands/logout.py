"""`logout`: end the kept session and drop it; the record of used codes stays, so that none is used twice."""

import argparse

from runner.engine.each_account import Visit, visit_each


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def execute(arguments: argparse.Namespace) -> int:
    """End each account's session at the API, where its login says how, and forget it."""

    async def work(visit: Visit) -> None:
        try:
            await visit.account.provider.revoke(visit.deadline, visit.observer)
        finally:
            await visit.account.provider.forget(visit.deadline, cooldown=False)

    return visit_each(arguments, work)
