"""The command `completion SHELL`: prints the script that completes commands and options in a shell."""

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own options."""
    parser.add_argument(
        "shell",
        choices=SHELLS,
        help="for example: source <(sync-runner completion bash); fish: sync-runner completion fish | source",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["sync-runner"], shell=arguments.shell) + "\n")
    return 0
