"""For the commands that do one thing with each account: open it, do it, close it, one exit code."""

import argparse
from collections.abc import Awaitable, Callable

from runner.account import Account, Surroundings, open_account, open_client
from runner.api import profile
from runner.clock import Deadline, SystemClock
from runner.commands.outlets import outlets
from runner.commands.settings_from import loaded
from runner.errors import RunnerError
from runner.fleet import accounts
from runner.frozen import Frozen
from runner.loop import complete
from runner.observe import events
from runner.observe.interface import Observer
from runner.settings import Settings, SyncSettings


class Visit(Frozen):
    """One account, open, with what is needed to work with it. `clean` takes secrets out of what the API says."""

    account: Account
    settings: Settings
    syncs: tuple[SyncSettings, ...]
    deadline: Deadline
    observer: Observer
    clean: Callable[[str], str]


def visit_each(arguments: argparse.Namespace, work: Callable[[Visit], Awaitable[None]]) -> int:
    """Do `work` with every account (or the one of --account). Returns 0, or the gravest code of what failed."""
    settings = loaded(arguments).settings
    clock = SystemClock()
    codes = [0]
    with outlets(settings, clock) as made:
        spelled = profile.load(settings.profile)
        around = Surroundings.of(settings, spelled, clock, made.learn, made.run_id, made.redactor.clean)

        async def all_accounts() -> None:
            async with open_client(around) as client:
                for plan in accounts(settings, around.environment):
                    observer = made.observer.bind(account=plan.name)
                    deadline = Deadline.after(clock, settings.deadline.run, "the run's deadline")
                    try:
                        account = open_account(plan, around, client, observer)
                        await work(Visit(account, settings, plan.syncs, deadline, observer, around.clean))
                    except RunnerError as error:
                        codes.append(int(error.exit_code))
                        observer.emit(events.RunFailed(int(error.exit_code), str(error)))

        complete(all_accounts())
    return max(codes)
