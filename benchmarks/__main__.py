"""`make bench`: measures everything, and writes docs/performance.md. `python -m benchmarks CASE ...` does a part anew.

What was measured stands in build/bench/measured, a file for each case; the page is written from it, and from nothing else.
"""

import argparse
import json
import subprocess
from collections.abc import Callable
from typing import Any

from benchmarks import growth, imports, lengths, many, page, start
from benchmarks.places import BUILD, ROOT, environment, runner
from benchmarks.versions import machine

MEASURED = BUILD / "measured"


def _day(_rounds: int) -> Any:
    command = [str(runner()), "-m", "benchmarks.day"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


CASES: dict[str, Callable[[int], Any]] = {
    "start": lambda rounds: start.cold_start(rounds),
    "login": lambda rounds: start.cold_login(rounds),
    "lengths": lambda rounds: lengths.lengths(rounds),
    "many": lambda rounds: many.at_once([1, 10, 100, 1000], 90, rounds),
    "most": lambda rounds: many.at_once([5000], 300, min(rounds, 3)),
    "fleet": lambda rounds: many.fleet(1000, min(rounds, 5)),
    "day": _day,
    "imports": lambda rounds: imports.pictures(min(rounds, 7)),
}


def main() -> None:
    """Measure the cases named, or all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="starts of each contender (default: 21)")
    parser.add_argument("--page", action="store_true", help="only write the page from what was measured before")
    arguments = parser.parse_args()
    MEASURED.mkdir(parents=True, exist_ok=True)
    for name in () if arguments.page else arguments.cases or CASES:
        figures = CASES[name](arguments.rounds) | {"machine": machine()}
        (MEASURED / f"{name}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        print(f"{name}: measured", flush=True)
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in MEASURED.glob("*.json")}
    if "many" in found:
        _draw("growth", growth.pictured(found))
    if "imports" in found:
        _draw("imports", found["imports"]["packages"])
    (ROOT / "docs" / "performance.md").write_text(page.text(found), encoding="utf-8")


def _draw(name: str, figures: Any) -> None:
    """Have `plot` draw the picture of that name, in an environment of its own."""
    python, image = environment("plot", "matplotlib"), ROOT / "docs" / "images" / f"{name}.svg"
    command = [str(python), str(ROOT / "benchmarks" / "plot.py"), name, str(image)]
    subprocess.run(command, input=json.dumps(figures), text=True, check=True)


if __name__ == "__main__":
    main()
