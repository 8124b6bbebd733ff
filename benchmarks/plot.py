"""Draws the growth with the number of jobs. Standard input is the measured figures as JSON, the argument the SVG to write."""

import json
import sys

from matplotlib import pyplot, rcParams


def main() -> None:
    """Time, memory and CPU over the number of jobs."""
    rcParams["svg.hashsalt"] = "sync-runner"  # the same figures give the same file
    rcParams["svg.fonttype"] = "none"  # letters as text: a tenth of the size
    pyplot.switch_backend("svg")
    counts = json.load(sys.stdin)
    jobs = [one["count"] for one in counts]
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 2.8))
    for axis, (key, unit) in zip(axes, (("seconds", "s"), ("memory", "MiB"), ("cpu", "s of CPU")), strict=True):
        values = [one[key] for one in counts]
        axis.plot(jobs, values, "o-", linewidth=1)
        axis.set(xscale="symlog", xlabel="jobs at once", title=unit, ylim=(0, 1.15 * max(values)))
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
