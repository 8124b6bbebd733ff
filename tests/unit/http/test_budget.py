"""The retries of a whole run: what is spent, what is given back, and when the API counts as down."""

from hypothesis import given
from hypothesis import strategies as st

from runner.http.budget import DOWN_AFTER, DOWN_SECONDS, GIVEN_BACK, Budget


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_so_many_retries_are_in_store_and_no_more() -> None:
    budget = Budget(3.0, _Time())
    assert [budget.spend() for _ in range(5)] == [True, True, True, False, False]
    assert budget.remaining == 0.0


def test_good_answers_put_back_half_a_retry_each_and_never_more_than_was_there() -> None:
    budget = Budget(2.0, _Time())
    assert budget.spend() and budget.spend() and not budget.spend()
    budget.answered()
    assert not budget.spend()
    budget.answered()
    assert budget.remaining == 2 * GIVEN_BACK == 1.0
    assert budget.spend()
    for _ in range(50):
        budget.answered()
    assert budget.remaining == 2.0


def test_an_api_whose_retries_are_spent_is_down_until_it_answers() -> None:
    budget = Budget(1.0, _Time())
    budget.failed()
    assert budget.down is None
    assert budget.spend()
    assert budget.down == "the run's retry budget is exhausted"
    budget.answered()
    assert budget.down is None


def test_an_api_that_answers_is_not_down_however_many_retries_it_took() -> None:
    budget = Budget(0.0, _Time())
    assert budget.down is None
    assert not budget.spend()


def test_failures_in_a_row_over_some_time_are_an_api_that_is_down() -> None:
    time = _Time()
    budget = Budget(1000.0, time)
    for number in range(DOWN_AFTER):
        assert budget.down is None, number
        budget.failed()
        time.now += DOWN_SECONDS / (DOWN_AFTER - 1) if number < DOWN_AFTER - 1 else 0.0
    assert budget.down == f"its last {DOWN_AFTER} requests failed, over 10 s"
    budget.answered()
    assert budget.down is None
    budget.failed()
    assert budget.down is None


def test_many_failures_at_once_are_a_short_fault_that_many_accounts_meet() -> None:
    time = _Time()
    budget = Budget(1000.0, time)
    for _ in range(500):
        budget.failed()
    time.now += DOWN_SECONDS - 0.1
    assert budget.down is None
    time.now += 0.1
    assert budget.down == "its last 500 requests failed, over 10 s"


def test_the_time_counts_from_the_first_failure_of_the_row() -> None:
    time = _Time()
    budget = Budget(1000.0, time)
    budget.failed()
    time.now += 60.0
    budget.answered()
    for _ in range(DOWN_AFTER):
        budget.failed()
    assert budget.down is None


@given(st.lists(st.booleans(), max_size=300))
def test_the_store_never_leaves_its_bounds_and_never_grants_more_than_it_had(good: list[bool]) -> None:
    budget = Budget(5.0, _Time())
    granted = 0
    for answered in good:
        if answered:
            budget.answered()
        else:
            budget.failed()
            granted += budget.spend()
        assert 0.0 <= budget.remaining <= 5.0
    assert granted <= 5.0 + GIVEN_BACK * sum(good)
