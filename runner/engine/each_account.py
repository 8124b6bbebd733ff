"""For the commands that do one thing with each account: open it, do it, close it, one exit code."""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from runner import profile as profiles
from runner.auth.code_sources.interface import Ask
from runner.clock import Clock, Deadline, SystemClock
from runner.engine.account import Account, RunContext, open_account, open_client, opened_state
from runner.engine.event_loop import complete
from runner.engine.fleet import accounts
from runner.errors import RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.frozen import Frozen
from runner.outputs.assembly import Outputs, open_outputs
from runner.settings import Loaded, Settings, SyncSettings
from runner.settings.arguments import loaded
from runner.state.interface import JobLedger
from runner.state.opening import RunState


class Visit(Frozen):
    """One account, open, with what is needed to work with it. `clean` takes secrets out of what the API says."""

    account: Account
    context: RunContext
    settings: Settings
    syncs: tuple[SyncSettings, ...]
    deadline: Deadline
    observer: Observer
    clock: Clock
    redact: Callable[[str], str]
    ledger: JobLedger


def tell_renamed(found: Loaded, observer: Observer) -> None:
    """Warn of each setting that was given by its old name."""
    for one in found.renamed:
        observer.emit(events.SettingRenamed(one.old, one.new, one.source))


def visit_each(
    arguments: argparse.Namespace,
    work: Callable[[Visit], Awaitable[None]],
    *,
    ignore: tuple[type[RunnerError], ...] = (),
    more: dict[str, Any] | None = None,
    before: Callable[[RunContext, Outputs], None] = lambda _context, _outputs: None,
    on_error: Callable[[str, RunnerError], None] | None = None,
    first: Callable[[RunState, Deadline], Awaitable[None]] | None = None,
    ask: Ask | None = None,
) -> int:
    """Do `work` with every account that is selected. Returns 0, or the gravest code of what failed.

    An error in `ignore` leaves the account out without a word. `before` is called once, before any account. `on_error` is
    told of an account's error, which is else logged. `first` has the state before
    any account. `more` are settings of the command, stronger than all others. `ask` asks a person at a terminal.
    """
    found = loaded(arguments, more)
    settings = found.settings
    clock = SystemClock()
    codes = [0]
    with open_outputs(settings, clock) as made:
        tell_renamed(found, made.observer)
        profile = profiles.load(settings.profile)
        context = RunContext.of(settings, profile, clock, made.add_secret, made.run_id, made.redactor.redact)
        context = replace(context, ask=ask)

        before(context, made)

        async def all_accounts() -> None:
            whole = Deadline.after(clock, settings.deadline.run, "the run's deadline")
            async with open_client(context) as client, opened_state(context, made.observer, whole) as state:
                if first is not None:
                    await first(state, whole)
                for plan in accounts(settings, context.environment):
                    observer = made.observer.bind(account=plan.name)
                    deadline = Deadline.after(clock, settings.deadline.run, "the run's deadline")
                    try:
                        account = open_account(plan, context, client, state, observer)
                        await work(
                            Visit(
                                account,
                                context,
                                settings,
                                plan.syncs,
                                deadline,
                                observer,
                                clock,
                                context.redact,
                                state.ledger,
                            )
                        )
                        await account.provider.record_use(deadline)
                    except ignore:
                        continue
                    except RunnerError as error:
                        codes.append(int(error.exit_code))
                        if on_error is not None:
                            on_error(plan.name, error)
                        else:
                            observer.emit(events.RunFailed(int(error.exit_code), str(error), error.exit_code.remedy))

        complete(all_accounts())
    return max(codes)
