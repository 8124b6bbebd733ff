"""The machine of jobs against a model API, at length: `python -m tests.campaign.jobs_machine --steps 100000`."""

import argparse
import json
import time
from collections import Counter
from random import Random

from tests.support.job_machine import KINDS, chain


def steps(wanted: int, seed: int = 0) -> Counter[str]:
    """Take at least so many steps, over every kind of API. Returns what came of them; fails at a broken promise."""
    came: Counter[str] = Counter()
    number = seed * 1_000_000
    while came["steps"] < wanted:
        for kind in KINDS:
            chain(Random(number), kind, came)
        number += 1
    return came


def main() -> None:
    """Take the steps and print what came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began = time.monotonic()
    came = steps(asked.steps, asked.seed)
    told = {"campaign": "jobs_machine", "broken promises": 0, **dict(came.most_common())}
    print(json.dumps({**told, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
