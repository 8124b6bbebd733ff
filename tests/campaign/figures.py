"""The command line that all campaigns share: which, with which numbers, and nothing left behind where it is ended."""

import argparse
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = dict[str, Any]
Campaign = Callable[..., Figures]


def main(campaigns: Mapping[str, Campaign], about: str | None) -> None:
    """Run the campaigns named, or all, and print each one's figures as a line of JSON.

    `NAME key=value ...` gives the campaign's own arguments, such as how many runs and which seed.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("words", nargs="*", metavar="NAME [KEY=VALUE ...]", help=", ".join(campaigns))
    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        os.environ["TMPDIR"] = tempfile.tempdir = place  # of the processes that are started, too
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        for name, given in asked(parser.parse_args().words) or [(name, {}) for name in campaigns]:
            began = time.monotonic()
            figures = campaigns[name](**given)
            print(json.dumps({"campaign": name, **figures, "seconds": round(time.monotonic() - began, 1)}), flush=True)


def asked(words: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Each campaign with its arguments: numbers as such, all else as text."""
    found: list[tuple[str, dict[str, Any]]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            found[-1][1][key] = int(value) if value.isdigit() else value
        else:
            found.append((key, {}))
    return found


def _leave(number: int, _frame: object) -> None:
    """End by a signal: the processes at work at once, and then this one in good order."""
    for child in multiprocessing.active_children():
        child.kill()
    raise SystemExit(128 + number)
