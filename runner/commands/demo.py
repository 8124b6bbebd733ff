"""The command `demo`: starts the sandbox with fresh credentials as secret files and runs three syncs as `run` does."""

import argparse
import sys
import tempfile
from pathlib import Path

from runner.clock import SystemClock
from runner.commands.sandbox import need_extra
from runner.outputs.assembly import open_outputs
from runner.outputs.summary import print_summary
from runner.settings.arguments import loaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument(
        "--job-seconds", type=float, default=3.0, metavar="S", help="minimum duration of each job (default: 3)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs the demo, removes its files, and returns the run's exit code."""
    need_extra()
    from runner.commands.run import perform
    from runner.sandbox.command import write_secrets
    from runner.sandbox.server import SandboxServer
    from runner.sandbox.settings import SandboxSettings

    with (
        tempfile.TemporaryDirectory(prefix="sync-runner-demo-") as name,
        SandboxServer(SandboxSettings(port=0, job_seconds=arguments.job_seconds)) as server,
    ):
        secrets = Path(name) / "secrets"
        write_secrets(secrets, server.credentials)
        settings = loaded(
            arguments,
            {
                "base_url": server.base_url,
                "profile": "garminsync",
                "secrets_dir": str(secrets),
                "syncs": "activities,health,workouts",
                "state": {"dir": str(Path(name) / "state")},
            },
        ).settings
        with open_outputs(settings, SystemClock(), with_metrics=True) as made:
            ended = perform(settings, made)
        if not sys.stderr.isatty():  # a terminal already shows it
            print_summary(ended.report, sys.stdout)
    return ended.result.exit_code
