"""Runs a command's work with each account: opens it, does the work, closes it; returns one exit code."""

import argparse
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner import profile as profiles
from runner.auth.code_sources.interface import Ask
from runner.auth.interface import SessionProvider
from runner.clock import Clock, Deadline, SystemClock
from runner.engine.account import Account, RunContext, open_account, open_client, opened_state
from runner.engine.account_query import with_accounts
from runner.engine.event_loop import complete
from runner.engine.fleet import AccountPlan, accounts
from runner.engine.logins import end_sessions
from runner.engine.run import deadline_of
from runner.errors import RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.frozen import Frozen
from runner.outputs.assembly import Outputs, open_outputs
from runner.settings import Loaded, Settings, SyncSettings
from runner.settings.arguments import loaded
from runner.state.interface import JobLedger
from runner.state.opening import RunState

if TYPE_CHECKING:
    from runner.http.client import Client


class Visit(Frozen):
    """One open account with its resources. `clean` redacts secrets in the API's texts."""

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
    """Warns of each setting that was given under its old name."""
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
    """Calls `work` with every selected account. Returns 0, or the most severe exit code.

    An error in `ignore` skips the account silently. `before` is called once, before any account, `first` with the state.
    `on_error` receives an account's error, which is otherwise logged. `more` are settings with the highest precedence.
    """
    found, clock, codes, opened = loaded(arguments, more), SystemClock(), [0], list[SessionProvider]()
    with open_outputs(found.settings, clock) as made:
        tell_renamed(found, made.observer)
        profile = profiles.load(found.settings.profile)
        context = RunContext.of(found.settings, profile, clock, made.add_secret, made.run_id, made.redactor.redact)
        before(context := with_accounts(replace(context, ask=ask)), made)

        async def all_accounts() -> None:
            whole = deadline_of(context.settings, context.clock)
            async with open_client(context) as client, opened_state(context, made.observer, whole) as state:
                if first is not None:
                    await first(state, whole)
                for plan in accounts(context.settings, context.environment):
                    observer = made.observer.bind(account=plan.name)
                    try:
                        with suppress(*ignore):
                            await _visit(plan, context, client, state, observer, work, opened)
                    except RunnerError as error:
                        codes.append(int(error.exit_code))
                        (on_error or _told_to(observer))(plan.name, error)
                await end_sessions(opened, clock, made.observer)

        complete(all_accounts())
    return max(codes)


def _told_to(observer: Observer) -> Callable[[str, RunnerError], None]:
    return lambda _name, error: observer.emit(
        events.RunFailed(int(error.exit_code), str(error), error.exit_code.remedy)
    )


async def _visit(
    plan: AccountPlan,
    context: RunContext,
    client: "Client",
    state: RunState,
    observer: Observer,
    work: Callable[[Visit], Awaitable[None]],
    opened: list[SessionProvider],
) -> None:
    """Calls `work` with one account and stores when its session was used. Adds its provider to `opened`."""
    account, deadline = (
        open_account(plan, context, client, state, observer),
        deadline_of(context.settings, context.clock),
    )
    opened.append(account.provider)
    await work(
        Visit(
            account, context, context.settings, plan.syncs, deadline, observer, context.clock, context.redact, state.ledger
        )
    )  # fmt: skip
    await account.provider.record_use(deadline)
