"""A command line to an exit code: parse, dispatch, and tell of errors. Each command has a module of its own."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from runner.engine import signals
from runner.errors import ExitCode, RunnerError, UsageError, defect
from runner.events.redaction import sturdy_streams
from runner.external import escape
from runner.parser import build, parse

OBEYING = ("run", "demo")  # these obey a signal with report and metrics, however early it came
PRINTING = frozenset({"-h", "--help", "--version"})  # the parser prints, perhaps to a reader that does not read


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; foreseen errors become one line, unforeseen ones code 1."""
    with sturdy_streams():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    log_format = os.environ.get("SYNC_RUNNER_LOG__FORMAT") or "auto"
    try:
        if not arguments and not any(os.environ.get(f"SYNC_RUNNER_{name}") for name in ("BASE_URL", "CONFIG")):
            sys.stdout.write(build(None).format_help())
            raise UsageError("nothing to do: give a command, or settings (--base-url, --config) for `run`")
        if PRINTING.intersection(arguments):
            signals.unwind()
        parsed = parse(arguments)
        log_format = parsed.log_format or log_format
        if parsed.command not in OBEYING:
            signals.unwind()
        module = importlib.import_module(f"runner.commands.{parsed.command.replace('-', '_')}")
        execute: Callable[[argparse.Namespace], int] = module.execute
        return int(execute(parsed))
    except SystemExit as leave:  # --help and --version (0), or SIGTERM
        return int(leave.code or 0)
    except RunnerError as error:
        for line in str(error).splitlines():
            _complain(line, error.exit_code, log_format)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.SIGINT)
    except Exception as error:  # noqa: BLE001 - Python's own traceback would print values, and secrets among them
        _complain(defect(error), ExitCode.DEFECT, log_format)
        return int(ExitCode.DEFECT)


def _complain(line: str, code: ExitCode, log_format: str) -> None:
    """One error line: readable on a terminal, a JSON object elsewhere, as all on standard error is."""
    if log_format == "console" or (log_format != "json" and sys.stderr.isatty()):
        following = "" if code is ExitCode.USAGE else f"\n  Next: {code.remedy}"  # a usage error says itself what to do
        sys.stderr.write(f"sync-runner: {escape(line)}{following}\n")
        return
    import json
    import time

    from runner.clock import rfc3339

    told = {"timestamp": rfc3339(time.time()), "level": "error", "event": "run.failed"}
    record = {**told, "exit_code": int(code), "error": line, "remedy": code.remedy}
    sys.stderr.write(json.dumps(record) + "\n")
