"""The command `sandbox`: serves the embedded API, an extra of the package."""

import argparse

from runner.clock import SystemClock
from runner.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sandbox's own options."""
    from runner.sandbox import command

    command.add_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serves until a signal arrives."""
    need_extra()
    from runner.outputs.assembly import open_outputs
    from runner.sandbox import command
    from runner.settings import LogSettings, Settings

    # Shows the web server's own warnings (such as a connection reset by a fault) in the form of all log lines.
    log = LogSettings(format=arguments.log_format or "auto", level="warning")
    with open_outputs(Settings(base_url="http://127.0.0.1", log=log), SystemClock()):
        return command.execute(arguments)


def need_extra() -> None:
    """Raises UsageError where the sandbox's packages are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn", "argon2", "jwt", "gpxpy", "defusedxml") if not find_spec(name)]
    if missing:
        raise UsageError(f"the sandbox needs {', '.join(missing)}: pip install 'sync-runner[sandbox]'")
