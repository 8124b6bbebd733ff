"""`python -m runner` and the console script: nothing but the way in."""

import sys

from runner import signals


def main() -> None:
    """Run the command line and leave with its exit code."""
    signals.listen()
    from runner.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
