"""`python -m runner` and the console script: nothing but the way in."""

import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _leave)  # as PID 1, a process without a handler ignores SIGTERM
    from runner.cli import run

    sys.exit(run(sys.argv[1:]))


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
