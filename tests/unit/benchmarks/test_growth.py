"""The fit of the benchmarks: what grows faster than the jobs is seen."""

import pytest

from benchmarks.growth import fit

COUNTS = (1, 10, 100, 1000, 5000)


def test_a_straight_line_is_found_again() -> None:
    found = fit([(jobs, 2.0 + 0.01 * jobs) for jobs in COUNTS for _ in range(3)])
    assert (found.of_none, found.a_job, found.r_squared) == pytest.approx((2.0, 0.01, 1.0))
    assert found.exponent == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("power", [0.5, 1.5, 2.0])
def test_the_exponent_tells_how_more_jobs_cost_more(power: float) -> None:
    assert fit([(jobs, 2.0 + 0.01 * jobs**power) for jobs in COUNTS]).exponent == pytest.approx(power, abs=0.05)
