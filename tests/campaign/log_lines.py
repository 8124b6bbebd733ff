"""Log lines of mixed runs, each held to the schema of its event in docs/events.schema.json. `python -m tests.campaign.log_lines`.

The runs are those of the canary campaign: every way in which a run can go, at the level `debug`.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import jsonschema

from runner.events.events import ALL
from runner.sandbox import data
from tests.campaign.canary import bench
from tests.campaign.canary_cases import CASES
from tools.event_reference import schema

VALIDATORS = {
    name: jsonschema.Draft202012Validator(definition, format_checker=jsonschema.FormatChecker())
    for name, definition in schema()["$defs"].items()
}


def check_lines(text: str) -> Counter[str]:
    """Every line fits the schema of its event. Returns how many there were of each."""
    count: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("::"):  # annotations of the GitHub step
            continue
        read = json.loads(line)
        VALIDATORS[read["event"]].validate(read)
        count[read["event"]] += 1
    return count


def campaign(least: int) -> dict[str, object]:
    """Run one case after the other until so many lines fit. Raises at the first that does not."""
    began = time.monotonic()
    lines: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as home:
        data.generate(Path(home) / "data", 7, date(2026, 6, 30))
        with bench(Path(home) / "data") as place:
            number = 0
            while lines.total() < least or number % len(CASES):
                directory = Path(home) / str(number)
                directory.mkdir()
                # An even round of the cases is logged as JSON, an odd one as for a terminal.
                places, _listening, ended = place.run(list(CASES)[number % len(CASES)], number % len(CASES), directory)
                lines.update(check_lines(places["stderr"]))
                codes.update(ended)
                number += 1
    missing = sorted({kind.name for kind in ALL} - set(lines))
    told = {"cases": len(CASES), "runs": codes.total(), "codes": dict(sorted(codes.items())), "lines": lines.total()}
    return {
        **told,
        "events seen": len(lines),
        "events never seen": missing,
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000)
    print(json.dumps({"campaign": "log_lines", **campaign(parser.parse_args().lines)}))
