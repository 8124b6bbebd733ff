"""The command `profiles list|show|validate|schema|test`: shows, checks and tries API profiles."""

import argparse
import json
import sys

from runner import profile as profiles
from runner import yaml_source
from runner.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument(
        "what",
        choices=("list", "show", "validate", "schema", "new", "test"),
        help="list all, print one, check a file, print the JSON Schema, draft one from an OpenAPI "
        "document or a recording (HAR), or test one (needs --base-url and secrets)",
    )
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="a built-in profile's name or a file")
    parser.add_argument(
        "--sync", metavar="TYPE", help="with test: a harmless sync to trigger and cancel; not given: no trigger"
    )
    parser.add_argument(
        "--run",
        action="store_true",
        help="with test --sync: follow the job to its end and show every value with its unit",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE", help="with test: a parameter for that sync"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Prints the requested profile information to standard output."""
    if arguments.what == "list":
        for name in profiles.built_ins():
            sys.stdout.write(f"{name:<20} {profiles.load(name).description}\n")
        return 0
    if arguments.what == "schema":
        sys.stdout.write(json.dumps(profiles.schema(), indent=2) + "\n")
        return 0
    if not arguments.name:
        raise UsageError(f"profiles {arguments.what}: name a profile ({', '.join(profiles.built_ins())}) or a file")
    if arguments.what == "show":
        sys.stdout.write(yaml_source.text(profiles.locate(arguments.name)))
        return 0
    if arguments.what == "new":
        return _new(arguments.name)
    if arguments.what == "test":
        from runner.engine import profile_trial as trial

        return trial.test(arguments)
    profiles.validate(arguments.name)
    sys.stdout.write(f"{arguments.name}: valid\n")
    return 0


def _new(name: str) -> int:
    """Prints a draft; reports its open parts on standard error."""
    from pathlib import Path

    from runner.profile.drafts import draft

    text = draft(Path(name))
    sys.stdout.write(text)
    try:
        profiles.parse(yaml_source.parse(text.encode(), "draft"))
    except UsageError as left:
        sys.stderr.write(f"{left}\n")
    return 0
