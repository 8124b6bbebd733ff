"""What a start takes beside the import floor: first request, whole run, `--help`, CPU and memory, as ratios in one run.

`python -m benchmarks.ratios` measures the runner installed with each Python given by `--python` (a wheel of this tree and its locked
requirements); `--image IMAGE` measures within a container of that image. Each round starts every contender once, in turn, so that
a busy machine slows all alike; a ratio is the median of the rounds' ratios.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT, command_of, installed

FLOOR = "import httpx, prometheus_client, pydantic_settings, pyotp, structlog, tenacity"

# What starts them, with nothing but Python's own library, so that it runs in the image too: rounds, python, command, floor.
PROBE = (Path(__file__).parent / "probe.py").read_text(encoding="utf-8")


def in_environment(python: Path, rounds: int) -> dict[str, Any]:
    """The ratios of the runner in that environment."""
    return _probed([str(python), "-I", "-"], rounds, str(python), command_of(python))


def in_image(image: str, rounds: int) -> dict[str, Any]:
    """The same within a container of `image`, which has no network but its own loopback."""
    start = ["docker", "run", "--rm", "--interactive", "--network", "none", "--entrypoint", "python", image, "-I", "-"]
    return _probed(start, rounds, "/opt/sync-runner/bin/python", "sync-runner")


def _probed(start: list[str], rounds: int, python: str, command: str) -> dict[str, Any]:
    done = subprocess.run(
        [*start, str(rounds), python, command, FLOOR], input=PROBE, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(name: str, found: dict[str, Any]) -> str:
    """One row of the table."""
    ratio, ms = found["ratios"], found["ms"]
    cells = [
        name,
        found["python"],
        f"{ms['floor']:.0f}",
        f"{ratio['first']:.2f}",
        f"{ratio['login']:.2f}",
        f"{ratio['whole']:.2f}",
    ]
    cells += [f"{ratio['cpu']:.2f}", f"{ratio['help']:.2f}", f"{ratio['memory']:.2f}"]
    return f"| {' | '.join(cells)} |"


HEAD = """\
| runner | Python | floor, ms | first request | first request of a login | whole run | its CPU | `--help` | memory |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def main() -> None:
    """Print a table, one row for each Python and each image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", action="append", default=[], metavar="PYTHON", help="an interpreter, or its version"
    )
    parser.add_argument("--image", action="append", default=[], metavar="IMAGE")
    parser.add_argument("--rounds", type=int, default=21, metavar="N")
    given = parser.parse_args()
    print(HEAD, flush=True)
    for python in given.python:
        print(row(f"wheel of {ROOT.name}", in_environment(installed(python), given.rounds)), flush=True)
    for image in given.image:
        print(row(image, in_image(image, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
