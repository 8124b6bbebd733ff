"""The entry point of `python -m runner` and of the console script."""

import gc
import os
import sys

from runner.engine import signals

FLUSH_SECONDS = 1.0  # after a signal, for a reader of standard output
LIVE_OBJECTS = 20_000  # start-up creates 150,000 objects and frees none: collection at Python's 700 took 30 ms


def main() -> None:
    """Runs the command line and exits with its exit code."""
    signals.listen()
    open_streams()
    gc.set_threshold(LIVE_OBJECTS)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions (`sync-runner completion`)
        from runner.parser import complete

        complete()
    from runner.cli import run

    try:
        code = run(sys.argv[1:])
    except SystemExit as ended:  # a signal, while the streams were closed
        code = int(ended.code or 0)
    gc.freeze()  # at exit, Python would search all remaining objects for garbage: 60 ms for no result
    if code in (130, 143):
        leave(code)
    try:
        flush()
    except SystemExit as ended:  # a signal, while no process read
        os._exit(int(ended.code or 0))
    sys.exit(code)


def flush() -> None:
    """Writes what standard output still holds. Where that fails, /dev/null takes its place: Python would end with 120."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # a full disk, a closed pipe
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123


def leave(code: int) -> None:
    """After a signal: does the same, but for a second at most, and ends the process."""
    import threading

    flushing = threading.Thread(target=flush, name="flush", daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    os._exit(code)  # Python would flush once more, and wait


def open_streams() -> None:
    """Opens /dev/null in place of a closed standard stream (`>&-`): else the next opened file would receive its output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free one
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))


if __name__ == "__main__":
    main()
