"""The command `run`: runs the syncs to completion, writes the outputs, returns the exit code."""

import argparse
import contextlib
import gc
import os
import resource
import signal

from runner import profile as profiles
from runner.clock import SystemClock
from runner.commands import requested
from runner.engine import signals
from runner.engine.account import RunContext
from runner.engine.account_query import with_accounts
from runner.engine.each_account import tell_renamed
from runner.engine.event_loop import complete
from runner.engine.fleet import shard
from runner.engine.run import deadline_of, run
from runner.errors import RunnerError, UsageError, unforeseen
from runner.events import events
from runner.models import RunResult
from runner.outputs.assembly import Outputs, open_outputs
from runner.outputs.interface import Ended
from runner.settings import Settings
from runner.settings.arguments import loaded

LIVE_OBJECTS = 20_000  # created, and not yet freed, between two collections of garbage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    requested.add_arguments(parser)
    parser.add_argument("--concurrency", type=int, metavar="N", help="syncs that may run at once")
    parser.add_argument("--shard", metavar="I/N", help="process only one part of the accounts: 0/4 to 3/4")
    parser.add_argument("--on-failure", choices=("continue", "stop"), help="after a failed sync")
    parser.add_argument("--only-failed", action="store_true", help="only syncs whose last run did not complete")
    parser.add_argument("--failed-in", metavar="REPORT", help="only syncs that did not complete in this JSON report")
    parser.add_argument("--dry-run", action="store_true", help="show the plan; sends nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: one JSON document instead of a table")
    parser.add_argument("--report", metavar="FILE|-", help="write the JSON report here; - is standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the requested syncs. Returns the run's exit code."""
    if arguments.dry_run:
        from runner.engine.preview import preview

        signals.unwind()
        return preview(arguments, requested.as_settings(arguments), as_json=arguments.json)
    if arguments.json:
        raise UsageError("run: --json is only for --dry-run; the report of a run as JSON is `--report -`")
    found, clock = loaded(arguments, requested.as_settings(arguments)), SystemClock()
    settings = found.settings
    with open_outputs(settings, clock, with_metrics=True) as made:
        tell_renamed(found, made.observer)
        return perform(settings, made).result.exit_code


def perform(settings: Settings, made: Outputs) -> Ended:
    """Runs the syncs with their outputs; `demo` uses it too."""
    before = {number: signal.getsignal(number) for number in signals.heeded()}
    signals.last_words.append(made.last_words)
    try:
        made.deadline = deadline_of(settings, made.observer.clock)
        result = _result(settings, made)
        return made.finish(result)
    finally:
        signals.last_words.remove(made.last_words)
        for number, disposition in before.items():
            signal.signal(number, disposition)


def _raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one: each account at work holds lock files (decision 0056)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some platforms have a lower limit of their own
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _result(settings: Settings, made: Outputs) -> RunResult:
    _raise_file_limit()
    clock = made.observer.clock
    started_at = clock.time()

    def meanwhile() -> None:
        made.load()
        gc.freeze()  # all that is loaded stays
        gc.set_threshold(LIVE_OBJECTS)

    try:
        profile = profiles.load(settings.profile)
        context = RunContext.of(settings, profile, clock, made.add_secret, made.run_id, made.redactor.redact, meanwhile)
        return complete(run(with_accounts(context), made.observer, made.run_id, made.deadline))
    except RunnerError as error:
        code, problem = error.exit_code, str(error)
    except Exception as error:  # noqa: BLE001 - report and metrics must include a defect too
        found = unforeseen(error)
        code, problem = found.exit_code, str(found)
    for line in problem.splitlines():
        made.observer.emit(events.RunFailed(int(code), line, code.remedy))
    common = (made.run_id, int(code), started_at, clock.time(), settings.base_url, settings.profile)
    return RunResult(*common, errors=(problem,), shard=_part(settings))


def _part(settings: Settings) -> str | None:
    """Returns the shard, so that a run that failed at start still pushes to its own group; None where it is unknown."""
    try:
        found = shard(settings, os.environ)
    except UsageError:
        return None
    return str(found) if found else None
