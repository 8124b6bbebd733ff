"""`sandbox`: the embedded API, an extra of the package."""

import argparse
import sys

from runner.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sandbox's own options."""
    from runner.sandbox import command

    command.add_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    need_extra()
    from runner.outputs.log import configure_logging
    from runner.sandbox import command
    from runner.settings import LogSettings

    # The web server's own warnings (a connection reset by a fault, say) in the form of all our lines.
    configure_logging(LogSettings(format=arguments.log_format or "auto", level="warning"), sys.stderr)
    return command.execute(arguments)


def need_extra() -> None:
    """Raises UsageError where the sandbox's packages are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn", "argon2", "jwt", "gpxpy", "defusedxml") if not find_spec(name)]
    if missing:
        raise UsageError(f"the sandbox needs {', '.join(missing)}: pip install 'sync-runner[sandbox]'")
