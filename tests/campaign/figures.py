"""The command line that all campaigns share: which, with which numbers, and nothing left behind where it is ended."""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

Figures = dict[str, Any]
Campaign = Callable[..., Figures]
Made = TypeVar("Made")
PART = 500  # runs that one process does in one go
BROKEN = "broken"  # the figure that lists broken promises


def main(campaigns: Mapping[str, Campaign], about: str | None) -> None:
    """Run the campaigns named, or all, and print each one's figures as a line of JSON.

    `NAME key=value ...` gives the campaign's own arguments, such as how many runs and which seed. A lone campaign needs
    no name. Ends with 1 where a figure says that a promise is broken.
    """
    broken = False
    lone = next(iter(campaigns)) if len(campaigns) == 1 else ""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("words", nargs="*", metavar="NAME [KEY=VALUE ...]", help=", ".join(campaigns))
    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        os.environ["TMPDIR"] = tempfile.tempdir = place  # of the processes that are started, too
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        for name, given in asked(parser.parse_args().words, lone) or [(name, {}) for name in campaigns]:
            began = time.monotonic()
            figures = campaigns[name](**given)
            print(json.dumps({"campaign": name, **figures, "seconds": round(time.monotonic() - began, 1)}), flush=True)
            broken |= bool(figures.get(BROKEN))
    sys.exit(int(broken))


def in_parts(work: Callable[[int, range], Made], *, runs: int, seed: int, first: int, processes: int) -> Iterator[Made]:
    """Does the runs with the numbers `first` to `first + runs` in parts of 500, and yields what each part made, in order.

    Says each minute on standard error how to go on after what is done. A part is the same for the same seed and numbers.
    """
    numbers = range(first - first % PART, first + runs)
    parts = [numbers[at : at + PART] for at in range(0, len(numbers), PART)]
    told = began = time.monotonic()
    # Not ProcessPoolExecutor: with `max_tasks_per_child` Python 3.11's waits for ever once a process has had its share.
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=8) as pool:
        for part, made in zip(parts, pool.imap(partial(work, seed), parts), strict=True):
            yield made
            now = time.monotonic()
            if now - told >= 60:
                told = now
                left = f"runs={numbers.stop - part.stop} seed={seed} first={part.stop}"
                print(
                    f"{part.stop - first} of {runs} in {now - began:.0f} s; the rest: {left}",
                    file=sys.stderr,
                    flush=True,
                )


def cpu_minutes() -> float:
    """What this process and those that it started and that have ended have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(one.ru_utime + one.ru_stime for one in used) / 60, 1)


def asked(words: Sequence[str], lone: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Each campaign with its arguments: numbers as such, all else as text."""
    found: list[tuple[str, dict[str, Any]]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            if not found and lone:
                found.append((lone, {}))
            found[-1][1][key] = int(value) if value.isdigit() else value
        else:
            found.append((key, {}))
    return found


def _leave(number: int, _frame: object) -> None:
    """End by a signal: the processes at work at once, and then this one in good order."""
    for child in multiprocessing.active_children():
        child.kill()
    raise SystemExit(128 + number)
