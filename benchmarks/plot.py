"""Draws the pictures of docs/performance.md: `plot.py NAME SVG`, with the measured figures as JSON on standard input."""

import json
import sys
from collections.abc import Callable
from typing import Any

from matplotlib import pyplot, rcParams


def growth(measures: list[dict[str, Any]]) -> None:
    """Time, CPU and memory of every run over its number of jobs, and the straight line through them."""
    _figure, axes = pyplot.subplots(1, 3, figsize=(9, 2.8))
    for axis, one in zip(axes, measures, strict=True):
        jobs, values = zip(*one["points"], strict=True)
        most = max(jobs)
        along = [most ** (step / 100) for step in range(101)]
        axis.plot(along, [one["of_none"] + one["a_job"] * at for at in along], linewidth=1, color="grey")
        axis.plot(jobs, values, "o", markersize=3)
        axis.set(xscale="log", yscale="log", xlabel="jobs at once", title=one["title"])
        axis.grid(alpha=0.3)


def imports(packages: dict[str, dict[str, float]]) -> None:
    """What loading takes, by package: a bar for each contender."""
    _figure, axis = pyplot.subplots(figsize=(9, 2.6))
    names = sorted({name for sums in packages.values() for name in sums}, key=lambda name: (name == "the rest", name))
    labels = list(packages)[::-1]
    left = [0.0] * len(labels)
    for number, name in enumerate(names):
        widths = [packages[label].get(name, 0.0) for label in labels]
        colour = "lightgrey" if name == "the rest" else pyplot.get_cmap("tab20")(number)
        axis.barh(labels, widths, left=left, label=name, color=colour)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axis.set(xlabel="ms, by themselves, with python -X importtime")
    axis.legend(ncols=1, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def main() -> None:
    """Draw one picture."""
    rcParams["svg.hashsalt"] = "sync-runner"  # the same figures give the same file
    rcParams["svg.fonttype"] = "none"  # letters as text: a tenth of the size
    pyplot.switch_backend("svg")
    draw: dict[str, Callable[[Any], None]] = {"growth": growth, "imports": imports}
    draw[sys.argv[1]](json.load(sys.stdin))
    pyplot.tight_layout()
    pyplot.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
