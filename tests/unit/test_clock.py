"""What comes after a deadline shares one grace time."""

import pytest

from runner.clock import GRACE, Deadline
from tests.support.clock import LinkedClock


@pytest.mark.parametrize(
    ("passed", "left"),
    [(0.0, 1.0), (0.9, GRACE), (1.0, GRACE), (1.05, GRACE - 0.05), (1.0 + GRACE, 0.0), (9.0, 0.0)],
)
def test_the_grace_time_ends_at_one_moment_whenever_its_work_begins(passed: float, left: float) -> None:
    clock = Stopped()
    deadline = Deadline.after(clock, 1.0, "the run's deadline", GRACE)
    clock.now += passed
    assert deadline.remaining_with_grace == pytest.approx(left)


def test_what_is_earlier_than_a_deadline_has_no_grace_time() -> None:
    clock = Stopped()
    earlier = Deadline.after(clock, 1.0, "the run's deadline", GRACE).minus(0.5)
    clock.now += 0.5
    assert earlier.remaining_with_grace == 0.0


class Stopped(LinkedClock):
    """A clock that only the test moves."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now
