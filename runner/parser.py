"""The command-line parser: commands, common options and help. Each command's module adds its own options."""
# Decision 0001.

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from runner import __version__
from runner.errors import ExitCode, UsageError, nearest

COMMANDS: dict[str, str] = {
    "run": "run the syncs to completion (the default command)",
    "check": "check everything that a run needs; triggers nothing",
    "status": "show sessions, tokens and recent jobs, from the API or from the state",
    "cancel": "cancel a job",
    "login": "log in and keep the session for the next run",
    "state": "show, prune, export, import or move the stored state",
    "submit-code": "send a one-time code to the run that waits for it",
    "logout": "delete the stored session",
    "config": "show the effective settings, the schema, or a commented file to start from",
    "profiles": "list, show, validate or test the profiles of APIs",
    "sandbox": "serve the embedded API for trials",
    "demo": "run three syncs against the embedded API",
    "completion": "print the completion script for bash, zsh or fish",
    "help": "show the help of a command",
}

_EPILOG = f"""\
exit codes:
{os.linesep.join(f"  {code:>3}  {code.meaning}" for code in ExitCode)}

Settings come from the command line, SYNC_RUNNER_* variables, the YAML file (--config) and defaults, in order of precedence.
The secrets username, password and totp_seed come from files in /run/secrets (--secrets-dir).

examples:
  sync-runner --base-url https://sync.example.org run activities health --start -7d
  sync-runner check --config runner.yaml
  sync-runner status --json
  sync-runner help run
"""
_DATES = ("--start", "--end")  # their values may start with a minus sign


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, in the form of all errors and with the same words in every Python
    version."""

    def __init__(self, **options: Any) -> None:
        """As argparse.ArgumentParser."""
        super().__init__(**options)
        self.register("type", int, _whole_number)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{self._in_our_words(message.removeprefix('argument '))}; see `{self.prog} --help`")

    def _in_our_words(self, message: str) -> str:
        what, _, names = message.partition(": ")
        if what == "the following arguments are required":
            return f"{self.prog.rpartition(' ')[2]}: give {' and '.join(map(self._wanted, names.split(', ')))}"
        return f"{what}: give a value after it" if names.startswith("expected ") else message

    def _wanted(self, name: str) -> str:
        action = next(one for one in self._actions if name in (one.metavar, one.dest))
        return f"one of {', '.join(action.choices)}" if action.choices else f"{name}, {action.help}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raises an error with the closest choice."""
        if action.choices is not None and value not in action.choices:
            near = nearest(value, action.choices)
            hint = f"did you mean `{near}`? Known: " if near else "choose one of "
            place = action.option_strings[-1] if action.option_strings else self.prog.rpartition(" ")[2]
            raise argparse.ArgumentError(
                None, f"{place}: invalid choice `{value}`; {hint}{', '.join(map(str, action.choices))}"
            )


def _whole_number(text: str) -> int:
    """Parses an option's number. Raises argparse's own error, to which argparse adds the option."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"give a whole number instead of `{text}`") from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the command line. The default command is `run`. Raises UsageError, or SystemExit after --help."""
    words = _joined(arguments)
    at = _command_at(words)
    if at is None:
        words = words if {"-h", "--help", "--version"} & {*words} else [*words, "run"]
    elif words[at] == "help":
        words = [*words[at + 1 : at + 2], "--help"]
        if words[0] not in COMMANDS and words[0] != "--help":
            near = nearest(words[0], COMMANDS)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(COMMANDS)}"
            raise UsageError(f"help: unknown command `{words[0]}`; {hint}")
    elif words[at] not in COMMANDS:
        _refuse_slip(words[at])
        words.insert(at, "run")
    at = _command_at(words)
    parser = build(None if at is None else words[at])
    _refuse_unknown_options(words, parser)
    found, left = parser.parse_known_args(words)
    if left:
        what = "unknown option" if left[0].startswith("-") else "unexpected word"
        raise UsageError(f"{what} `{left[0]}`; see `{_help_of(words)}`")
    return found


def _help_of(words: Sequence[str]) -> str:
    """Returns the command line that shows the help of the command in `words`."""
    at = _command_at(words)
    return "sync-runner --help" if at is None else f"sync-runner {words[at]} --help"


def _joined(words: Sequence[str]) -> list[str]:
    """Turns `--start -7d` into `--start=-7d`: argparse would take `-7d` for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _DATES and word[:1] == "-" and word[1:2].isdigit():
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _command_at(words: Sequence[str]) -> int | None:
    """Returns the index of the first word that is neither a common option nor its value."""
    takes_value = {flag for action in _common()._actions if action.nargs is None for flag in action.option_strings}
    skip = False
    for index, word in enumerate(words):
        if skip or word.startswith("-"):
            skip = not skip and word in takes_value
        else:
            return index
    return None


def _refuse_slip(word: str) -> None:
    """Raises UsageError for a word that is no command but resembles one."""
    meant = "--version" if word == "version" else nearest(word, COMMANDS)
    if meant is not None:
        raise UsageError(
            f"unknown command `{word}`; did you mean `{meant}`? For a sync of that type: `sync-runner run {word}`"
        )


def _refuse_unknown_options(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raises UsageError for an option that neither the parser nor its command knows, with the closest match."""
    known = {
        flag for each in (parser, *_subparsers(parser)) for action in each._actions for flag in action.option_strings
    }
    for word in words:
        name = word.partition("=")[0]
        if word == "--":
            return
        if name.startswith("--") and name not in known:
            meant = nearest(name[2:], sorted(flag[2:] for flag in known if flag.startswith("--")))
            raise UsageError(
                f"unknown option `{name}`; {f'did you mean `--{meant}`?' if meant else f'see `{_help_of(words)}`'}"
            )


def _subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def build(chosen: str | None, *, whole: bool = False) -> Parser:
    """Builds the parser with the chosen command's options; `whole` builds and imports every command."""
    parser = Parser(
        prog="sync-runner",
        description="Runs the sync jobs of an API behind a password and a one-time code, unattended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sync-runner {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, about in COMMANDS.items():
        full = whole or name == chosen
        own = [_common(suppress=True)] if full else []
        description = f"{about[0].upper()}{about[1:]}."
        sub = commands.add_parser(name, help=about, description=description, parents=own, allow_abbrev=False)
        if full and name != "help":
            importlib.import_module(f"runner.commands.{name.replace('-', '_')}").add_arguments(sub)
    return parser


def _common(*, suppress: bool = False) -> Parser:
    """Adds the options that every command accepts, before or after its name."""
    parser = Parser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("settings")
    default: Any = argparse.SUPPRESS if suppress else None

    def add(*flags: str, **options: Any) -> None:
        group.add_argument(*flags, **({"default": default} | options))

    add("-c", "--config", type=Path, metavar="FILE", help="YAML file with settings (or SYNC_RUNNER_CONFIG)")
    add("--base-url", metavar="URL", help="the API's address")
    add("--profile", metavar="NAME|FILE", help="the API's profile (default: garminsync)")
    add("--secrets-dir", metavar="DIR", help="directory with the files username, password, totp_seed")
    add("--state-dir", metavar="DIR", help="directory for tokens and the ledger (default: memory only)")
    # Options after the command have their own destination: argparse would let them replace the ones before it.
    after = "_after" if suppress else ""
    add(
        "--set",
        action="append",
        dest=f"set{after}",
        metavar="KEY=VALUE",
        help="any other setting, such as deadline.run=30m",
    )
    add(
        "--account",
        action="append",
        dest=f"account{after}",
        metavar="NAME",
        help="only this account, or the accounts that match `team-*`",
    )
    add("--log-format", choices=("auto", "json", "console"), help="how to log on standard error")
    add("--log-level", choices=("debug", "info", "warning", "error"), help="lowest level logged")
    add("--no-progress", action="store_true", help="no live progress bars")
    add("-v", "--verbose", action="store_true", help="log everything (--log-level debug)")
    add("-q", "--quiet", action="store_true", help="log warnings and errors only, no progress bars")
    return parser


def complete() -> None:
    """Answers a shell's completion request (argcomplete's protocol) and exits."""
    import argcomplete

    argcomplete.autocomplete(build(None, whole=True))
