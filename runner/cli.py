"""Arguments to a command, a command to an exit code. Only parsing and dispatch; each command has a module of its own."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from runner import __version__
from runner.engine import signals
from runner.errors import ExitCode, RunnerError, UsageError, defect

COMMANDS: dict[str, str] = {
    "run": "run the syncs to completion (the default command)",
    "check": "check configuration, secrets, reachability and login; triggers nothing",
    "status": "show recent jobs, from the API or from what the runner remembers",
    "cancel": "cancel a job",
    "login": "log in and keep the session for the next run",
    "logout": "drop the kept session",
    "config": "show the effective settings, the schema, or a commented file to start from",
    "profiles": "list, show, validate or test the profiles of APIs",
    "sandbox": "serve the embedded API to try things out against",
    "demo": "run three syncs against the embedded API",
}

OBEYING = ("run", "demo")  # these obey a signal with report and metrics, however early it came

_EPILOG = f"""\
exit codes:
{os.linesep.join(f"  {code:>3}  {code.meaning}" for code in ExitCode)}

settings come from the command line, SYNC_RUNNER_* variables, the YAML file (--config) and defaults, strongest first;
the secrets username, password and totp_seed from files in /run/secrets (--secrets-dir).

examples:
  sync-runner demo
  sync-runner --base-url https://sync.example.org run activities health --start -7d
  sync-runner check --config runner.yaml
"""


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; foreseen errors become one line, unforeseen ones code 1."""
    log_format = os.environ.get("SYNC_RUNNER_LOG__FORMAT") or "auto"
    try:
        parsed = parse(arguments)
        log_format = parsed.log_format or log_format
        if parsed.command not in OBEYING:
            signals.unwind()
        module = importlib.import_module(f"runner.commands.{parsed.command}")
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
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DEFECT)
    except Exception as error:  # noqa: BLE001 - Python's own traceback would print values, and secrets among them
        _complain(defect(error), ExitCode.DEFECT, log_format)
        return int(ExitCode.DEFECT)


def _complain(line: str, code: ExitCode, log_format: str) -> None:
    """One error line: readable on a terminal, a JSON object elsewhere, as all on standard error is."""
    if log_format == "console" or (log_format != "json" and sys.stderr.isatty()):
        sys.stderr.write(f"sync-runner: {line}\n")
        return
    import json
    import time

    from runner.clock import rfc3339

    told = {"timestamp": rfc3339(time.time()), "level": "error", "event": "run.failed"}
    record = {**told, "exit_code": int(code), "error": line}
    sys.stderr.write(json.dumps(record) + "\n")


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line in the form of all others."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; without a command it is `run`. Raises UsageError, or SystemExit after --help."""
    words = _joined(arguments)
    if not any(word in COMMANDS or word in ("-h", "--help", "--version") for word in words):
        words.append("run") if not words else words.insert(_first_own(words), "run")
    return _parser(next((word for word in words if word in COMMANDS), None)).parse_args(words)


def _joined(words: Sequence[str]) -> list[str]:
    """`--start -7d` as `--start=-7d`: argparse would take `-7d` for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in ("--start", "--end") and word[:1] == "-" and word[1:2].isdigit():
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _first_own(words: Sequence[str]) -> int:
    """Where `run` belongs in a line that names no command: before the first word that is not a common option."""
    takes_value = {
        "--config",
        "-c",
        "--base-url",
        "--profile",
        "--secrets-dir",
        "--state-dir",
        "--set",
        "--log-format",
        "--log-level",
    }
    index = 0
    while index < len(words):
        word = words[index]
        if word in takes_value:
            index += 2
        elif word in ("-v", "--verbose", "-q", "--quiet") or word.split("=", 1)[0] in takes_value:
            index += 1
        else:
            break
    return min(index, len(words))


def _parser(chosen: str | None) -> _Parser:
    """The parser; only the chosen command's own options are built, the others' modules are not even imported."""
    common = _common()
    parser = _Parser(
        prog="sync-runner",
        description="Runs the sync jobs of an API behind a password and a one-time code, with nobody at the keyboard.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sync-runner {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, about in COMMANDS.items():
        own = [_common(suppress=True)] if name == chosen else []
        description = f"{about[0].upper()}{about[1:]}."
        sub = commands.add_parser(name, help=about, description=description, parents=own, allow_abbrev=False)
        if name == chosen:
            importlib.import_module(f"runner.commands.{name}").add_arguments(sub)
    return parser


def _common(*, suppress: bool = False) -> _Parser:
    """Options that every command takes, before or after its name."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("settings")
    default: Any = argparse.SUPPRESS if suppress else None

    def add(*flags: str, **options: Any) -> None:
        group.add_argument(*flags, **({"default": default} | options))

    add("-c", "--config", type=Path, metavar="FILE", help="YAML file with settings (or SYNC_RUNNER_CONFIG)")
    add("--base-url", metavar="URL", help="the API's address")
    add("--profile", metavar="NAME|FILE", help="how the API speaks (default: garminsync)")
    add("--secrets-dir", metavar="DIR", help="directory with the files username, password, totp_seed")
    add("--state-dir", metavar="DIR", help="directory for tokens and the ledger (default: memory only)")
    # What follows the command is kept apart: argparse would let it replace what stood before.
    kept = "set_after" if suppress else "set"
    add("--set", action="append", dest=kept, metavar="KEY=VALUE", help="any other setting, such as deadline.run=30m")
    add("--log-format", choices=("auto", "json", "console"), help="how to log on standard error")
    add("--log-level", choices=("debug", "info", "warning", "error"), help="least level logged")
    add("-v", "--verbose", action="store_true", help="log everything (--log-level debug)")
    add("-q", "--quiet", action="store_true", help="log warnings and errors only, no progress bars")
    return parser
