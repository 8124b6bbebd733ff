"""docs/performance.md from what was measured. Its words stand here; no figure does."""

from collections.abc import Iterator
from typing import Any

from benchmarks import growth
from benchmarks.process import Spread, spread

HEAD = """\
# Performance

Written by `make bench` (`python -m benchmarks CASE` measures a part anew); do not edit. Everything was measured against the same
sandbox over loopback, side by side: each round starts every contender once, in turn, so that a busy machine slows all
alike. Ratios and CPU seconds say more than times here; the load beside each case says how busy the machine was.
"""

CHANGED = """\
## What was changed, and what it gave

Found with `python -X importtime`, `cProfile` and CPU time at marks on the way, on the machine above; each figure is the smallest of a
dozen runs, before and after.

| what | before | after |
| --- | --- | --- |
| fifty frozen dataclasses, each with generated methods (`runner/frozen.py` has them once) | 35 ms | 2 ms |
| settings and profile models, each built by itself (now as parts of one, when first used) | 51 ms | 33 ms |
| PyYAML, to read the built-in profile (now JSON made of it) | 15-30 ms | 1 ms |
| structlog (and rich with it), prometheus_client, tenacity, pyotp, jmespath before the first request | 75 ms | 0 ms |
| rich, which structlog loads where it finds it (now after the first request, and without rich) | 40 ms | 0 ms |
| validators of the built-in profile, which its JSON does not need | 12 ms | 0 ms |
| a regular expression over all of Unicode, for YAML files (now made when one is read) | 5.6 ms | 0 ms |
| the options of all commands (now of the one that was given) | 5.6 ms | 3.4 ms |
| the first poll of a job | 50 ms after the trigger's answer | 50 ms after the trigger left |
| looking for garbage while modules load, and once more at the end of the process | 28 + 80 ms | 10 ms |
| CPU of each of 200 jobs of 10 s: httpcore's search for `sniffio` with each request where it is not installed; its pool, quadratic in its connections (100, now 10); one look through all stale files for each account (now for each run) | 34 ms | 18 ms |
| CPU of each of 200 jobs of 4 s, login included, the smallest of three runs in turn on a busy machine: a pool of connections that is looked through with each request (now a client of httpx for each connection), a jar for cookies that nobody keeps, headers looked up one by one, secrets in Base64 twice | 10.0 ms | 6.7 ms |
| looks at each of 1,000 jobs of 100 s that start at once (now the crowd is counted before it has come) | 4 | 3 |
| an answer of the sandbox whose body waited for its head to be acknowledged (now `TCP_NODELAY`) | 40 ms | 0 ms |
| open files with a thousand accounts at once, each with two locks (now a hundred of them are between intent and job) | 2,019 | 219 |
| looks a second, about, at a thousand jobs | 50 | 20 |
| flushes of the ledger to the disk, each 2-5 ms | 3 a job | 1 a job |
| looks at a job of 24 hours | 2,880 | 150 |
| a run with a job of 100 s that tells its progress by 30 items: beyond its length, and looks (now placed by what the steps allow) | 3.7 s, 29 | 1.3 s, 25 |
| a cold run with a login and a job of 0.1 s (now the job's time counts from its trigger, not from before the login) | 1,420 ms | 587 ms |

The modules that take longest to load, by themselves (`python -X importtime`, ms):

| the import floor | | a whole run | |
| --- | --- | --- | --- |
"""


def text(found: dict[str, Any]) -> str:
    """The whole page."""
    parts = {
        "start": _start,
        "login": _login,
        "lengths": _lengths,
        "many": growth.many,
        "fleet": growth.fleet,
        "day": _day,
    }
    told = [HEAD, *_machine(found), *_bounds(found)]
    for name, part in parts.items():
        if name in found:
            told += part(found[name], found)
    if "imports" in found:
        told += [CHANGED + "\n".join(_imports(found["imports"])), ""]
    return "\n".join(told)


def _bounds(found: dict[str, Any]) -> Iterator[str]:
    """Each bound that the runner is held to beside what was measured here."""
    rows: list[tuple[str, float, float]] = []
    if "start" in found:
        rounds = found["start"]["rounds"]

        def ratio(label: str, what: str, of: str) -> float:
            return spread(rounds[label][what]).median / spread(rounds["import floor"][of]).median

        rows += [
            (
                "first request with a kept token, of the import floor's time",
                ratio("sync-runner", "first", "whole"),
                1.0,
            ),
            ("whole run of a 0 s job, of the floor's time", ratio("sync-runner", "whole", "whole"), 1.25),
            ("the same, of the floor's CPU", ratio("sync-runner", "cpu", "cpu"), 1.25),
            ("`--help`, of the floor's time", ratio("sync-runner --help", "whole", "whole"), 0.4),
            ("`--version`, of the floor's time", ratio("sync-runner --version", "whole", "whole"), 0.4),
            ("peak memory, of the floor's", ratio("sync-runner", "memory", "memory"), 1.2),
        ]
    for seconds, labels in found.get("lengths", {}).get("lengths", {}).items():
        ours, shell = labels["sync-runner"], labels["shell script"]
        most = spread(shell["requests"]).median / (3 if float(seconds) >= 60 else 1)
        rows.append(
            (f"seconds beyond a job of {seconds} s", spread(ours["beyond"]).median, 0.35 + 0.02 * float(seconds))
        )
        rows.append((f"requests for a job of {seconds} s", spread(ours["requests"]).median, most))
    if "many" in found:
        rows += growth.bounds(found)
    yield "## What it is held to"
    yield ""
    yield "Bounds of time hold for a machine that does nothing else. Where the load above is greater than its number of CPUs, a missed one tells of the"
    yield "load as much as of the runner: memory, CPU and requests are then what can be trusted."
    yield ""
    yield "| | measured | bound | |"
    yield "| --- | --- | --- | --- |"
    for name, measured, bound in rows:
        yield f"| {name} | {measured:.2f} | {bound:.2f} | {'met' if measured <= bound else 'missed'} |"
    yield ""


def _machine(found: dict[str, Any]) -> Iterator[str]:
    about: dict[str, str] = next((one["machine"] for one in found.values()), {})
    for name, value in about.items():
        if name != "load":
            yield f"- {name}: {value}"
    yield "- load (of one minute) at the end of each case: " + ", ".join(
        f"{name} {one['machine']['load']}" for name, one in sorted(found.items())
    )
    yield ""


def _ms(one: Spread) -> str:
    return f"{1000 * one.median:.0f} ({1000 * one.low:.0f}-{1000 * one.high:.0f})"


def _start(case: dict[str, Any], _found: dict[str, Any]) -> Iterator[str]:
    floor = {name: spread(values) for name, values in case["rounds"]["import floor"].items()}
    yield "## Cold start, with a kept token, and whole runs of a job that takes no time"
    yield ""
    yield f"Medians and quartiles in ms; × is the ratio to the import floor's. {len(case['rounds']['import floor']['cpu'])} rounds."
    yield ""
    yield "| | first request | × | whole process | × | CPU | × | peak MiB | × | rounds |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for label, noted in case["rounds"].items():
        of = {name: spread(values) for name, values in noted.items()}
        first = (_ms(of["first"]), f"{of['first'].median / floor['whole'].median:.2f}") if "first" in of else ("", "")
        cells = [label, *first]
        for name in ("whole", "cpu"):
            cells += [_ms(of[name]), f"{of[name].median / floor[name].median:.2f}"]
        cells += [f"{of['memory'].median:.1f}", f"{of['memory'].median / floor['memory'].median:.2f}"]
        yield f"| {' | '.join([*cells, str(len(noted['cpu']))])} |"
    yield ""
    yield "The peak of a process cannot be told below that of the one which starts it (23 MiB). `shell script` is `benchmarks/shell.sh`"
    yield "(curl, jq, oathtool); its memory is the shell's alone. Airflow's operators run without its scheduler, Prefect's flow without its"
    yield "engine and server: no run of theirs is lighter. `sync-runner before` is commit a4c3905 with the same libraries."
    shell, ours = spread(case["rounds"]["shell script"]["whole"]), spread(case["rounds"]["sync-runner"]["whole"])
    yield ""
    cpu = [spread(case["rounds"][name]["cpu"]).median for name in ("sync-runner", "shell script")]
    yield f"Plainly: the runner takes {ours.median / shell.median:.1f} times the shell script's time and {cpu[0] / cpu[1]:.1f} times its CPU. The script starts no Python,"
    yield "and does none of what the runner does about lost answers, used codes, expired tokens, deadlines and signals."
    yield ""


def _login(case: dict[str, Any], _found: dict[str, Any]) -> Iterator[str]:
    yield "## Cold start without a token"
    yield ""
    yield "With a login by one-time code, in ms: medians and quartiles."
    yield ""
    yield "| | first request | whole process | rounds |"
    yield "| --- | --- | --- | --- |"
    for label, noted in case["rounds"].items():
        yield f"| {label} | {_ms(spread(noted['first']))} | {_ms(spread(noted['whole']))} | {len(noted['whole'])} |"
    yield ""


def _lengths(case: dict[str, Any], _found: dict[str, Any]) -> Iterator[str]:
    yield "## Beyond the job's own length"
    yield ""
    yield "Seconds of the whole process beyond the job's length by the server's record, and all requests made; medians and quartiles. The bound is"
    yield "0.35 s + 2 %, on a machine whose import floor is 0.26 s."
    yield ""
    yield "| job | bound | sync-runner | requests | shell script | requests | rounds |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for seconds, labels in case["lengths"].items():
        cells = [f"{seconds} s", f"{0.35 + 0.02 * float(seconds):.2f}"]
        for noted in labels.values():
            one = spread(noted["beyond"])
            cells += [f"{one.median:.2f} ({one.low:.2f}-{one.high:.2f})", f"{spread(noted['requests']).median:g}"]
        yield f"| {' | '.join(cells)} | {len(labels['sync-runner']['beyond'])} |"
    yield ""


def _day(case: dict[str, Any], _found: dict[str, Any]) -> Iterator[str]:
    yield "## A day of watching, on a fake clock"
    yield ""
    yield f"A job of 24 hours that tells its progress in whole per cent takes {case['progress']['looks']} looks and is found over {case['progress']['late']:.0f} s late (2 % are"
    yield f"1,728 s); one that tells none takes {case['none']['looks']} looks and is found over {case['none']['late']:.0f} s late. The budget is 161 requests. A hundred"
    yield f"more such days grew the process by {case['growth']:.1f} MiB; each took {1000 * case['seconds']:.1f} ms of CPU."
    yield ""
    yield "Without progress 2 % cannot be had within that budget: it would take 35 looks for each doubling of the time, and the budget has 10."
    yield "The runner holds the budget, and finds such a job over at most 1 s or 7.5 % late, half of that on average."
    yield ""


def _imports(case: dict[str, Any]) -> Iterator[str]:
    for floor, ours in zip(case["floor"], case["run"], strict=True):
        yield f"| {floor[0]} | {floor[1]:.1f} | {ours[0]} | {ours[1]:.1f} |"
    yield ""
    yield "![what loading takes, by package, in the import floor, before and now](images/imports.svg)"
    for label, when in (("before", "Before (commit a4c3905)"), ("now", "Now")):
        yield ""
        yield f"{when}, one run by [pyinstrument](https://pyinstrument.readthedocs.io), in seconds that its sampling stretches:"
        yield ""
        yield f"```text\n{case['profiles'][label]}\n```"
