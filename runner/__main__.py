"""`python -m runner` and the console script: nothing but the way in."""

import gc
import os
import sys

from runner.engine import signals

LIVE_OBJECTS = (
    20_000  # a start makes 150,000 objects and frees none: at Python's 700, looking for garbage took 30 ms of it
)


def main() -> None:
    """Run the command line and leave with its exit code."""
    signals.listen()
    open_streams()
    gc.set_threshold(LIVE_OBJECTS)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions (`sync-runner completion`)
        from runner.parser import complete

        complete()
    from runner.cli import run

    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's end looks for garbage in all that is left, which takes 60 ms and finds none of use
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # a full disk, a closed pipe: Python would end with 120
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.exit(code)


def open_streams() -> None:
    """Put /dev/null in the place of a standard stream that is closed (`>&-`): else the next file opened would be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))


if __name__ == "__main__":
    main()
