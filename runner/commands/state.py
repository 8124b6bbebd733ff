"""The command `state`: shows, prunes, exports, imports or moves the stored state."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from runner import profile as profiles
from runner.clock import GRACE, Deadline, SystemClock
from runner.engine.account import RunContext, opened_state
from runner.engine.event_loop import complete
from runner.errors import UsageError
from runner.events import events
from runner.outputs.assembly import Outputs, open_outputs
from runner.reading import in_time
from runner.settings import Settings, parse_duration
from runner.settings.arguments import loaded
from runner.state import moving
from runner.state.moving import Place

MAX_BYTES = 1 << 30  # of a document; a million syncs have 600 MiB
LEAST_KEPT = 86_400.0  # seconds
_NOWHERE = {"base_url": "https://none.invalid"}  # these commands send no requests, so they need no API
_EPILOG = """\
The state is the one that the settings name: --state-dir (state.dir), state.url or state.kubernetes_secret.

  show              accounts with the end of their session, last code and cool-down; syncs whose end is not known.
                    Never a token or a password. Encrypted sessions are shown where the secret state_key is mounted.
  prune             forget ended syncs and unused accounts older than --older-than (default: state.keep, 400 days).
                    What is open is never forgotten. Each run does this once a day by itself.
  export            write all of it as one JSON document, with --file of mode 0600. It holds the sessions as they are kept:
                    encrypted where state_key is used, else in plain text. Runs may be active.
  import            add a document. An account that has another state there is refused, unless --replace is given.
  move --to PLACE   take everything to another place: a directory, an address such as postgresql://runner@db/sync, or
                    secret/NAME in a pod. It is refused while a run is active. The old place is closed: a run that still
                    uses it ends with code 2 and says where the state is. The same command the other way moves it back.

examples:
  sync-runner state show --state-dir /var/lib/sync-runner/state --json
  sync-runner state export --state-dir /var/lib/sync-runner/state --file backup.json
  sync-runner state move --state-dir /var/lib/sync-runner/state --to postgresql://runner@db.example.org/sync
  sync-runner state move --set state.url=postgresql://runner@db.example.org/sync --to secret/session --without-ledger
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("what", choices=("show", "prune", "export", "import", "move"), help="what to do; see below")
    parser.add_argument(
        "--file", metavar="FILE", help="export, import: the document (default: -, standard output or input)"
    )
    parser.add_argument("--json", action="store_true", help="show, prune, import, move: one JSON document")
    parser.add_argument("--older-than", metavar="TIME", help="prune: such as 90d; at least 1d")
    parser.add_argument("--to", action="append", metavar="PLACE", help="move: directory, address, or secret/NAME")
    parser.add_argument("--replace", action="store_true", help="import, move: overwrite other states of an account")
    parser.add_argument("--without-ledger", action="store_true", help="move: leave the list of ended syncs behind")


def _there(directory: Path) -> bool:
    try:
        return in_time(directory.exists)
    except OSError as error:
        raise UsageError(f"state.dir: {directory}: cannot be read ({error.strerror}); check the volume") from None


def execute(arguments: argparse.Namespace) -> int:
    """Runs the action and reports the result on standard output."""
    _check(arguments)
    lines: list[str] = []
    act = {"show": _show, "prune": _prune, "export": _export, "import": _import, "move": _move}[arguments.what]
    settings = loaded(arguments, weakest=_NOWHERE).settings
    if not settings.state.lasting:
        raise UsageError(
            "state: none is configured; give --state-dir, state.url or state.kubernetes_secret, as for the runs"
        )
    if arguments.what != "import" and settings.state.dir is not None and not _there(settings.state.dir):
        raise UsageError(f"state.dir: {settings.state.dir}: does not exist; give the directory that the runs use")
    with open_outputs(settings, SystemClock()) as made:
        lines += complete(act(arguments, Opening(settings, made)))
    sys.stdout.writelines(lines)  # outside: an exported token is not redacted
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options that the action does not accept."""
    what = arguments.what
    if arguments.file is not None and what not in ("export", "import"):
        raise UsageError(f"state {what}: --file is only for `state export` and `state import`")
    for option, of in (("to", "move"), ("without_ledger", "move"), ("older_than", "prune")):
        if getattr(arguments, option) and what != of:
            raise UsageError(f"state {what}: --{option.replace('_', '-')} is only for `state {of}`")
    if arguments.replace and what not in ("import", "move"):
        raise UsageError(f"state {what}: --replace is only for `state import` and `state move`")
    if what == "move" and not arguments.to:
        raise UsageError(
            "state move: give the destination: --to DIRECTORY, --to postgresql://user@host/database or --to secret/NAME"
        )
    if what == "export" and arguments.file in (None, "-") and sys.stdout.isatty():
        raise UsageError(
            "state export: the document contains sessions; write it to a file or a pipe, not to a terminal"
        )
    if (getattr(arguments, "account", None) or getattr(arguments, "account_after", None)) and what != "show":
        raise UsageError(f"state {what}: processes all accounts; --account is only for `state show`")


class Opening:
    """How a place is opened: with these settings, and warnings to the log."""

    def __init__(self, settings: Settings, made: Outputs) -> None:
        """`settings` are the effective ones."""
        self.settings, self._made, self.clock = settings, made, SystemClock()
        profile = profiles.load(settings.profile)
        self.context = RunContext.of(settings, profile, self.clock, made.add_secret, made.run_id, made.redactor.redact)
        self.deadline = Deadline.after(self.clock, settings.deadline.run, "the run's deadline", GRACE)

    @asynccontextmanager
    async def place(self, settings: Settings | None = None) -> AsyncIterator[Place]:
        """Opens the place that these settings name; reports its faults before anything is done."""
        context = replace(self.context, settings=settings or self.settings)
        async with opened_state(context, self._made.observer, self.deadline) as state:
            await state.ledger.open(self.deadline)
            yield Place(state, self.clock, lambda problem: self._made.observer.emit(events.StoreProblem(problem)))


async def _show(arguments: argparse.Namespace, opening: Opening) -> list[str]:
    from runner.engine.kept import kept

    patterns = opening.settings.select.accounts

    def wanted(name: str) -> bool:
        return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)

    async with opening.place() as place:
        found = await kept(place, opening.context, opening.deadline, wanted)
    return [json.dumps(found, indent=2) + "\n"] if arguments.json else list(_lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['state']}: {len(found['accounts'])} accounts, {found['syncs']} syncs, {len(found['open_syncs'])} open\n"
    ]
    for one in found["accounts"]:
        lines.append(
            f"account {one['account'] or one['key'][:8]}: {one['note'] or _values(one, ('key', 'account', 'note'))}\n"
        )
    for one in found["open_syncs"]:
        lines.append(f"open sync {one['name']} of {one['account']}: {_values(one, ('name', 'account'))}\n")
    return lines


def _values(one: dict[str, Any], without: tuple[str, ...]) -> str:
    values = {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in one.items()
        if key not in without
    }
    return ", ".join(f"{key}={value}" for key, value in values.items() if value not in (None, 0)) or "no session"


async def _prune(arguments: argparse.Namespace, opening: Opening) -> list[str]:
    keep = _older_than(arguments.older_than, opening.settings.state.keep)
    async with opening.place() as place:
        accounts = await place.accounts.prune(keep, opening.deadline)
        syncs = await place.ledger.prune(keep, opening.deadline)
    return _done(arguments, "forgotten", accounts, syncs, "")


def _older_than(given: str | None, default: float) -> float:
    try:
        seconds = default if given is None else float(parse_duration(given))
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from None
    if seconds < LEAST_KEPT:
        raise UsageError("--older-than: give at least 1d; younger state may contain codes that are still valid")
    return seconds


def _done(arguments: argparse.Namespace, word: str, accounts: int, syncs: int, more: str) -> list[str]:
    if arguments.json:
        return [json.dumps({word: {"accounts": accounts, "syncs": syncs}}) + "\n"]
    return [f"{word}: {accounts} accounts, {syncs} syncs{more}\n"]


async def _export(arguments: argparse.Namespace, opening: Opening) -> list[str]:
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    async with opening.place() as place:
        document = moving.exported(place, when, opening.deadline)
        if arguments.file in (None, "-"):
            return [part async for part in document]
        await _written(Path(arguments.file), document)
    return []


async def _written(path: Path, parts: AsyncIterator[str]) -> None:
    """Writes the complete file, with mode 0600. Raises UsageError; an existing file is then unchanged."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:  # 0600
            temporary = stream.name
            async for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105
        temporary = None
    except OSError as error:
        raise UsageError(f"state export: {path}: cannot be written ({error.strerror}); give another file") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108


async def _import(arguments: argparse.Namespace, opening: Opening) -> list[str]:
    try:
        document = moving.read_document(_content(arguments.file or "-"))
    except UsageError as error:
        raise UsageError(f"state import: {arguments.file or 'standard input'}: {error}") from None
    async with opening.place() as place:
        taken = await moving.imported(document, place, opening.deadline, replace=arguments.replace)
    return _done(arguments, "imported", taken.accounts, taken.syncs, "")


def _content(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BYTES)
        with Path(file).open("rb") as stream:
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise UsageError(
            f"cannot be read ({error.strerror}); give a file that `sync-runner state export` wrote"
        ) from None


async def _move(arguments: argparse.Namespace, opening: Opening) -> list[str]:
    given = _target(arguments.to)
    there = loaded(arguments, {"state": given}, _NOWHERE).settings
    async with opening.place() as source, opening.place(there) as target:
        if arguments.without_ledger:
            await _refuse_open(source, opening.deadline)
        elif there.state.kubernetes_secret and not there.state.dir and await source.ledger.targets(opening.deadline):
            raise UsageError(
                "state move: a Secret cannot store the list of syncs; also give a directory for it (--to DIRECTORY), or leave "
                "it behind with --without-ledger"
            )
        taken = await moving.move(
            source, target, opening.deadline, replace=arguments.replace, without_ledger=arguments.without_ledger
        )
        names = ", ".join(f"state.{key}={value}" for key, value in given.items() if value is not None)
        more = f", from {source.accounts.name} to {target.accounts.name}. Now set {names} for every run."
    return _done(arguments, "moved", taken.accounts, taken.syncs, more)


async def _refuse_open(source: Place, deadline: Deadline) -> None:
    count = sum(one.open for one in await source.ledger.targets(deadline))
    if count:
        raise UsageError(
            f"state move: the end of {count} sync{'s' * (count != 1)} is not known (`sync-runner state show`), and would be "
            "lost; let a run determine their ends first, or move without --without-ledger"
        )


def _target(places: list[str]) -> dict[str, str | None]:
    """Returns the section `state` for the places. Raises UsageError."""
    found: dict[str, str | None] = {"dir": None, "url": None, "kubernetes_secret": None}
    for place in places:
        key = "url" if "://" in place else "kubernetes_secret" if place.startswith("secret/") else "dir"
        if found[key] is not None:
            raise UsageError(f"state move: --to names two places for state.{key}; give one")
        found[key] = place.removeprefix("secret/") if key == "kubernetes_secret" else place
    if found["url"] is not None and len(places) > 1:
        raise UsageError("state move: --to: an address stores everything; give no other place with it")
    return found
