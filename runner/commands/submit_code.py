"""The command `submit-code CODE`: sends a one-time code to the run that waits for a person."""

import argparse
import sys

from runner import profile as profiles
from runner.auth.code_sources.person import submit, waits, well_formed
from runner.clock import Deadline, SystemClock
from runner.engine.account import RunContext, open_inbox, opened_state
from runner.engine.account_query import with_accounts
from runner.engine.event_loop import complete
from runner.engine.fleet import accounts
from runner.errors import UsageError
from runner.external import show
from runner.outputs.assembly import open_outputs
from runner.settings.arguments import loaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument("code", metavar="CODE", help="the one-time code, or - to read it from standard input")


def execute(arguments: argparse.Namespace) -> int:
    """Passes the code to the one waiting account. Raises UsageError where no account waits, or several do."""
    code = well_formed(sys.stdin.readline(1024) if arguments.code == "-" else arguments.code)
    settings = loaded(arguments).settings
    if settings.code.source != "person":
        raise UsageError(
            f"submit-code: code.source is {settings.code.source}; a run waits for a code only with `person`"
        )
    if not settings.state.lasting:
        raise UsageError("submit-code: the code is passed through the state; set state.dir to the run's directory")
    clock = SystemClock()
    with open_outputs(settings, clock) as made:
        made.add_secret(code)
        context = RunContext.of(settings, profiles.load(settings.profile), clock, made.add_secret, made.run_id)
        context = with_accounts(context)
        deadline = Deadline.after(clock, settings.deadline.request, "deadline.request")

        async def hand_over() -> str:
            async with opened_state(context, made.observer, deadline) as state:
                waiting = {}
                for plan in accounts(context.settings, context.environment):
                    inbox = open_inbox(plan, context, state, made.observer)
                    if await waits(inbox, clock, deadline):
                        waiting[plan.name] = inbox
                if len(waiting) > 1:
                    named = ", ".join(show(name, 80) for name in waiting)
                    raise UsageError(
                        f"submit-code: several accounts wait for a code ({named}); choose one with --account"
                    )
                for name, inbox in waiting.items():
                    if await submit(inbox, code, clock, deadline):
                        return name
                raise UsageError(
                    "submit-code: no run waits for a code with this base_url and state; its log says `login.code_wanted`"
                )

        name = complete(hand_over())
    sys.stdout.write(f"{show(name, 80)}: code passed on; the run's log shows the API's response\n")
    return 0
