"""`run`: the syncs to completion, then metrics, report, exit code."""

import argparse
import asyncio
from typing import Any

from runner.account import Surroundings, accounts
from runner.api import profile
from runner.clock import SystemClock
from runner.commands.outlets import Outlets, outlets
from runner.commands.settings_from import loaded
from runner.errors import RunnerError, UsageError
from runner.models import RunResult
from runner.observe import events
from runner.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("types", nargs="*", metavar="TYPE", help="sync types to run, instead of the configured syncs")
    parser.add_argument("--start", metavar="DAY", help="first day for the TYPEs: 2026-01-31, today, -7d, last-success")
    parser.add_argument("--end", metavar="DAY", help="last day for the TYPEs, in the same forms")
    parser.add_argument("--force-full", action="store_true", help="full syncs for the TYPEs, not only what is new")
    parser.add_argument("--concurrency", type=int, metavar="N", help="syncs that may run at once")
    parser.add_argument("--on-failure", choices=("continue", "stop"), help="after a failed sync")
    parser.add_argument("--report", metavar="FILE|-", help="write the JSON report here; - is standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Run what is asked for; the exit code tells how it went."""
    settings = loaded(arguments, _asked(arguments)).settings
    if not any(one.syncs for one in accounts(settings)):
        raise UsageError(
            "syncs: nothing to run; name sync types (`run activities health`) or set `syncs` (SYNC_RUNNER_SYNCS)"
        )
    clock = SystemClock()
    with outlets(settings, clock, with_metrics=True) as made:
        return perform(settings, made).exit_code


def perform(settings: Settings, made: Outlets) -> RunResult:
    """The run with its outlets; also what `demo` does."""
    from runner.run import run

    clock = made.observer.clock
    started_at = clock.time()
    try:
        spelled = profile.load(settings.profile)
        around = Surroundings.of(settings, spelled, clock, made.learn)
        plans = accounts(settings)
        made.observer.emit(
            events.RunStarted(
                _version(), settings.base_url, settings.profile, len(plans), sum(len(one.syncs) for one in plans)
            )
        )
        result = asyncio.run(run(around, made.observer, made.run_id))
    except RunnerError as error:
        result = _failed(settings, made, started_at, error)
    made.finish(result, settings)
    return result


def _failed(settings: Settings, made: Outlets, started_at: float, error: RunnerError) -> RunResult:
    code = int(error.exit_code)
    for line in str(error).splitlines():
        made.observer.emit(events.RunFailed(code, line))
    now = made.observer.clock.time()
    return RunResult(made.run_id, code, started_at, now, settings.base_url, settings.profile, (), (str(error),))


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """Syncs named on the command line, as settings."""
    if not arguments.types:
        if arguments.start or arguments.end or arguments.force_full:
            raise UsageError("--start, --end and --force-full go with TYPEs on the command line; name some")
        return {}
    common = {"start": arguments.start, "end": arguments.end, "force_full": arguments.force_full}
    return {"syncs": [{"type": name, **common} for name in arguments.types]}


def _version() -> str:
    from runner import __version__

    return __version__
