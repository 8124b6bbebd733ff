"""What grows with the number of jobs, and how: least squares over every run of every count, and the page's words on it."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.process import Spread, spread

MEASURES = {  # title, and what a job's share is told in
    "beyond": ("s beyond the job's length", "ms", 1000.0),
    "cpu": ("s of CPU", "ms", 1000.0),
    "memory": ("MiB at most", "KiB", 1024.0),
}
ENOUGH = 100  # jobs: of fewer, what comes on top of one is less than two starts of the same program differ by


@dataclass(frozen=True, slots=True)
class Fit:
    """`of_none` + `a_job` * jobs, and how well that fits; `exponent` is the power of the jobs with which they cost more."""

    of_none: float
    a_job: float
    r_squared: float
    exponent: float


def fit(found: Sequence[tuple[int, float]]) -> Fit:
    """The straight line through all points, and the exponent of what comes on top of one job: 1 is linear.

    The exponent is the slope of the straight line through the logarithms of all points from `ENOUGH` jobs on.
    """
    jobs, values = zip(*found, strict=True)
    line = statistics.linear_regression(jobs, values)
    one = statistics.median(value for count, value in found if count == min(jobs))
    on_top = [(math.log(count), math.log(value - one)) for count, value in found if count >= ENOUGH and value > one]
    exponent = statistics.linear_regression(*zip(*on_top, strict=True)).slope
    return Fit(line.intercept, line.slope, statistics.correlation(jobs, values) ** 2, exponent)


def _points(found: dict[str, Any], measure: str) -> list[tuple[int, float]]:
    """The number of jobs and the figure, of every run of every count."""
    cases = [found[name] for name in ("many", "most") if name in found]
    return [(int(count), value) for case in cases for count, runs in case["counts"].items() for value in runs[measure]]


def pictured(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What `plot` draws of each measure."""
    drawn = []
    for measure, (title, *_) in MEASURES.items():
        points = _points(found, measure)
        line = fit(points)
        drawn.append({"title": title, "points": points, "of_none": line.of_none, "a_job": line.a_job})
    return drawn


def bounds(found: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """What is held, what was measured, and the bound."""
    counts = found["many"]["counts"]
    one, many = ({name: spread(values).median for name, values in counts[count].items()} for count in ("1", "1000"))
    yield "1000 jobs at once, of one's time", many["seconds"] / one["seconds"], 1.15
    yield "1000 jobs at once, MiB more than one", many["memory"] - one["memory"], 60.0
    yield "1000 jobs at once, CPU ms a job", 1000 * (many["cpu"] - one["cpu"]) / 999, 10.0
    if "most" in found:
        yield "5000 jobs at once, those not completed", 5000 - min(found["most"]["counts"]["5000"]["completed"]), 0.0
    for measure, (title, *_) in MEASURES.items():
        if measure != "cpu":
            yield (
                f"exponent of the growth in {title} (1.1: linear, as measured)",
                fit(_points(found, measure)).exponent,
                1.1,
            )


def many(case: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Part of the page."""
    most = found.get("most", {"seconds": 0, "counts": {}})
    yield "## Many jobs at once"
    yield ""
    yield f"Each job an account of its own that has a session already, in one process; 10 connections, logs from `warning` on. The jobs take {case['seconds']} s each, those of 5000 {most['seconds'] or 300} s: two"
    yield "CPUs, which runner and sandbox share, need a good part of that to trigger them, and all are to run at once. Medians; × is"
    yield "the ratio to one job's time, \"late\" the seconds beyond a job's length. Runs of up to 100 jobs go side by side in"
    yield "lanes that start 4 s apart, two runs of 1,000 half a job's length apart; each lane has a sandbox of its own."
    yield ""
    yield "| jobs | runs | completed | s | × | late (quartiles) | peak MiB | more | CPU s (quartiles) | CPU ms a job | requests | looks a job | open files | the sandbox's CPU s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    one = case["counts"]["1"]
    for seconds, counts in ((case["seconds"], case["counts"]), (most["seconds"], most["counts"])):
        for count, runs in counts.items():
            yield f"| {' | '.join(_cells(int(count), runs, one, of_one=seconds == case['seconds']))} |"
    yield ""
    yield "Least squares through all of these runs, which a straight line explains to R²; the exponent is that of what comes on top of one job:"
    yield ""
    yield "| | with no job | a job | R² | exponent |"
    yield "| --- | --- | --- | --- | --- |"
    for measure, (title, unit, times) in MEASURES.items():
        line = fit(_points(found, measure))
        yield f"| {title} | {line.of_none:.2f} | {times * line.a_job:.1f} {unit} | {line.r_squared:.3f} | {line.exponent:.2f} |"
    yield ""
    yield "![time, CPU and memory by the number of jobs, and the lines through them](images/growth.svg)"
    yield ""


def _cells(jobs: int, runs: dict[str, list[float]], one: dict[str, list[float]], *, of_one: bool) -> list[str]:
    of = {name: spread(values) for name, values in runs.items()}
    more = {name: of[name].median - spread(one[name]).median for name in ("cpu", "memory")}
    a_job = 1000 * (more["cpu"] / (jobs - 1) if jobs > 1 else of["cpu"].median)
    ratio = f"{of['seconds'].median / spread(one['seconds']).median:.2f}" if of_one else ""
    return [
        str(jobs), str(len(runs["cpu"])), f"{min(runs['completed']):g}", f"{of['seconds'].median:.1f}", ratio,
        _quartiles(of["beyond"]), f"{of['memory'].median:.1f}", f"{more['memory']:.1f}", _quartiles(of["cpu"]), f"{a_job:.1f}",
        f"{of['requests'].median:g}", f"{of['looks'].median / jobs:.1f}", f"{of['files'].median:g}",
        f"{of['sandbox_cpu'].median:.1f}",
    ]  # fmt: skip


def _quartiles(one: Spread) -> str:
    return f"{one.median:.1f} ({one.low:.1f}-{one.high:.1f})"


def fleet(case: dict[str, Any], _found: dict[str, Any]) -> Iterator[str]:
    """Part of the page."""
    of = {name: spread(values) for name, values in case["runs"].items()}
    yield f"## A fleet of {case['count']} accounts, cold"
    yield ""
    yield f"No account has a token; each logs in with a password and a one-time code, then runs one sync that takes no time. Medians (quartiles) of {len(case['runs']['cpu'])} runs:"
    yield f"{_quartiles(of['seconds'])} s, {_quartiles(of['cpu'])} s of CPU ({of['sandbox_cpu'].median:.1f} s the sandbox's), {of['memory'].median:.1f} MiB at most, {of['files'].median:g} open files; {of['sessions'].median:g} sessions,"
    yield f"{of['logins'].median:g} requests to log in, {of['jobs'].median:g} jobs, {min(case['runs']['completed']):g} completed, {of['requests'].median:g} requests in all."
    yield ""
