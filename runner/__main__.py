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
    gc.set_threshold(LIVE_OBJECTS)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions (`sync-runner completion`)
        from runner.parser import complete

        complete()
    from runner.cli import run

    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's end looks for garbage in all that is left, which takes 60 ms and finds none of use
    sys.exit(code)


if __name__ == "__main__":
    main()
