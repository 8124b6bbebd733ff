"""An answer that shows no job says so itself, or is of another shape: only the first means that a job is gone."""

from typing import Any

import pytest

from runner.profile.absence import says_nothing


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        ({"jobs": []}, "jobs[0]"),
        ({"job": None}, "job"),
        ({"data": {"run": None}}, "data.run.state"),
        ([], "[0]"),
        ([], "[?id=='a'] | [0]"),
        ({"runs": []}, "runs[?id=='a'] | [0]"),
        ({"run": {"type": "NotFound"}}, "run | (type != 'NotFound' && @ || `null`)"),
        ({"a": {}}, "values(@)[0]"),
    ],
)
def test_an_empty_list_and_a_written_null_say_that_there_is_nothing(body: Any, expression: str) -> None:
    assert says_nothing(body, expression)


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        (None, "jobs[0]"),
        (7, "job"),
        ({}, "job"),
        ({"jobs": 7}, "jobs[0]"),
        ({"error": "sorry"}, "jobs[0]"),
        ({"jobs": {}}, "jobs[0]"),
        ({"other": []}, "runs[?id=='a'] | [0]"),
        ({"data": {}}, "data.run.state"),
        ({"runs": "none"}, "runs[?id=='a'] | [0]"),
    ],
)
def test_another_shape_says_nothing_of_a_job(body: Any, expression: str) -> None:
    assert not says_nothing(body, expression)
