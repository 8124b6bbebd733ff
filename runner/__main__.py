"""`python -m runner` and the console script: nothing but the way in."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from runner.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
