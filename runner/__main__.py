"""`python -m runner` and the console script: nothing but the way in."""

import gc
import os
import signal
import sys
from types import FrameType

LIVE_OBJECTS = (
    20_000  # a start makes 150,000 objects and frees none: at Python's 700, looking for garbage took 30 ms of it
)


def main() -> None:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _leave)  # as PID 1, a process without a handler ignores SIGTERM
    gc.set_threshold(LIVE_OBJECTS)
    from runner.cli import run

    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's end looks for garbage in all that is left, which takes 60 ms and finds none of use
    sys.exit(code)


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind; but leave at once from within an import, which may turn the exception into another one (pydantic's does)."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
