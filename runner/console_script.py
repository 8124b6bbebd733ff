"""The module that the console script imports, installed as `sync_runner`. It ignores another module `runner` on PYTHONPATH."""
# Decision 0206.

import os
import sys


def main() -> None:
    """Runs the command line of the package `runner` that was installed with this module."""
    if "PYTHONPATH" in os.environ:
        _import_ours()
    from runner.__main__ import main as run

    run()


def _import_ours() -> None:
    others = {os.path.abspath(place) for place in os.environ["PYTHONPATH"].split(os.pathsep)}  # noqa: PTH100
    whole = sys.path[:]
    sys.path[:] = [place for place in whole if place not in others]
    try:
        import runner  # noqa: F401 - from here on known by its name
    except ModuleNotFoundError:  # it was found by PYTHONPATH alone
        pass
    finally:
        sys.path[:] = whole
