"""The state machine over login, at length. `python -m tests.campaign.machine` takes 50,000 steps and prints its figures."""

import argparse
import json
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.login_machine import LoginMachine

STEPS = 50  # of one sequence


def steps(wanted: int, *, repeatable: bool = False) -> Counter[str]:
    """Take so many steps in sequences of 50. Returns what came of them; fails where a sequence is illegal.

    `repeatable` takes the same ones each time.
    """
    came: Counter[str] = Counter()

    class Counted(LoginMachine):
        def teardown(self) -> None:
            came.update(self.came)
            super().teardown()

    phases = [Phase.generate] if repeatable else list(Phase)  # who looks into a failure wants it shrunk
    limits = settings(
        max_examples=wanted // STEPS, stateful_step_count=STEPS, deadline=None, database=None, phases=phases,
        suppress_health_check=list(HealthCheck), derandomize=repeatable,
    )  # fmt: skip
    run_state_machine_as_test(Counted, settings=limits)
    return came


def main() -> None:
    """Take the steps, as often as it needs until there are enough: hypothesis ends some sequences early."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    asked = parser.parse_args()
    began = time.monotonic()
    came: Counter[str] = Counter()
    while came["steps"] < asked.steps:
        came.update(steps(max(STEPS, asked.steps - came["steps"])))
    told = {"campaign": "machine", "illegal sequences": 0, **dict(came.most_common())}
    print(json.dumps({**told, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
