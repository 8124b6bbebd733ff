"""Runs a command line and returns its exit code: parses, dispatches and reports errors."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from runner.engine import signals
from runner.errors import ExitCode, RunnerError, UsageError, unforeseen
from runner.events.redaction import sturdy_streams
from runner.external import escape
from runner.parser import build, parse

OBEYING = ("run", "demo")  # on a signal, these still write report and metrics, however early it arrives
PRINTING = frozenset({"-h", "--help", "--version"})  # the parser prints, possibly to a reader that does not read


def run(arguments: Sequence[str]) -> int:
    """Runs one command line. Returns the exit code; a foreseen error becomes one line, an unforeseen one exit code 1."""
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
        found = unforeseen(error)
        _complain(str(found), found.exit_code, log_format)
        return int(found.exit_code)


def _complain(line: str, code: ExitCode, log_format: str) -> None:
    """Prints one error line on standard error: readable on a terminal, else a JSON object."""
    if log_format == "console" or (log_format != "json" and sys.stderr.isatty()):
        following = (
            "" if code is ExitCode.USAGE else f"\n  Next: {code.remedy}"
        )  # a usage error contains its own remedy
        sys.stderr.write(f"sync-runner: {escape(line)}{following}\n")
        return
    import json
    import time

    from runner.clock import rfc3339

    fields = {"timestamp": rfc3339(time.time()), "level": "error", "event": "run.failed"}
    record = {**fields, "exit_code": int(code), "error": line, "remedy": code.remedy}
    sys.stderr.write(json.dumps(record) + "\n")
