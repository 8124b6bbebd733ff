"""Six hours of runs with a wrong password, as each example schedules them, and a corrected one that is tried at once."""

from typing import Any

import pytest

from tests.campaign import hourly


@pytest.mark.parametrize("example", hourly.schedules())
def test_no_example_locks_the_account_of_a_wrong_password_and_a_corrected_one_is_tried_at_once(example: str) -> None:
    refused, code = hourly.refusals(hourly.schedules()[example], hours=6)
    assert 0 < refused < hourly.LOCK
    assert code == 0


def test_a_schedule_without_memory_is_seen_to_lock_the_account() -> None:
    refused, _code = hourly.refusals(lambda place, number: hourly.void(place.run(number, None)), hours=6)
    assert refused >= hourly.LOCK


def test_a_job_that_tries_again_after_a_refused_login_is_seen() -> None:
    spec: dict[str, Any] = {"jobTemplate": {"spec": {"template": {"spec": {"volumes": [], "containers": [{}]}}}}}
    refused, _code = hourly.refusals(hourly.cron_job(spec), hours=1)
    assert refused >= hourly.LOCK
