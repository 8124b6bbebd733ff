"""The entry point of `python -m runner` and of the console script."""

import gc
import os
import sys

from runner.engine import signals

LOADED_OBJECTS = 200_000  # more than a start-up creates; it frees none, and collections at 20,000 took 15 ms


def main() -> None:
    """Runs the command line and exits with its exit code."""
    signals.listen()
    open_streams()
    gc.set_threshold(LOADED_OBJECTS)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions (`sync-runner completion`)
        from runner.parser import complete

        complete()
    from runner.cli import run

    code = run(sys.argv[1:])
    gc.freeze()  # at exit, Python would search all remaining objects for garbage: 60 ms for no result
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # a full disk, a closed pipe: Python would end with 120
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.exit(code)


def open_streams() -> None:
    """Opens /dev/null in place of a closed standard stream (`>&-`): else the next opened file would receive its output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free one
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))


if __name__ == "__main__":
    main()
