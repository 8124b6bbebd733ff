"""`profiles list|show|validate|schema`: the APIs that the runner can speak to, and whether a file of yours is valid."""

import argparse
import json
import sys

from runner.api import profile
from runner.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "what",
        choices=("list", "show", "validate", "schema"),
        help="list all, print one, check a file, or print the JSON Schema",
    )
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="a built-in profile's name or a YAML file")


def execute(arguments: argparse.Namespace) -> int:
    """Print what was asked for to standard output."""
    if arguments.what == "list":
        for name in profile.built_ins():
            sys.stdout.write(f"{name:<20} {profile.load(name).description}\n")
        return 0
    if arguments.what == "schema":
        sys.stdout.write(json.dumps(profile.schema(), indent=2) + "\n")
        return 0
    if not arguments.name:
        raise UsageError(f"profiles {arguments.what}: name a profile ({', '.join(profile.built_ins())}) or a file")
    if arguments.what == "show":
        sys.stdout.write(profile.locate(arguments.name).read_text(encoding="utf-8"))
        return 0
    profile.load(arguments.name)
    sys.stdout.write(f"{arguments.name}: valid\n")
    return 0
