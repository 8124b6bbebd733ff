"""The sync types that a command line names instead of the configured syncs."""

import argparse
from typing import Any

from runner.errors import UsageError
from runner.settings.arguments import params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the types and their options."""
    parser.add_argument("types", nargs="*", metavar="TYPE", help="sync types to run, instead of the configured syncs")
    parser.add_argument("--start", metavar="DAY", help="first day for the TYPEs: 2026-01-31, today, -7d, last-success")
    parser.add_argument("--end", metavar="DAY", help="last day for the TYPEs, in the same forms")
    parser.add_argument("--force-full", action="store_true", help="full syncs for the TYPEs, not only what is new")
    parser.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the profile, for the TYPEs"
    )


def as_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the named syncs as settings. Raises UsageError for options without a type."""
    if not arguments.types:
        if arguments.start or arguments.end or arguments.force_full or arguments.param:
            raise UsageError("--start, --end, --force-full and --param need a TYPE on the command line")
        return {}
    common = {"start": arguments.start, "end": arguments.end, "force_full": arguments.force_full}
    common["params"] = params(arguments.param)
    return {"syncs": [{"type": name, **common} for name in arguments.types]}
