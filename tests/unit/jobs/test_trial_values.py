"""What `profiles test` shows of a login's lifetime: each value with its unit, and what is not believed as such."""

import pytest

from runner.http.messages import Response
from runner.jobs.trial_values import of_session
from runner.profile.auth_models import SessionFields

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("at", "said", "fits", "shown", "remedy"),
    [
        ({"expires_in": "x"}, 600, True, "600 s, until 2027-01-15T08:10:00Z", ""),
        ({"expires_in": "x"}, "600", True, "600 s", ""),
        ({"expires_in": {"body": "x", "unit": "ms"}}, 600_000, True, "600 s", ""),
        ({"expires_at": "x"}, "2027-01-15T09:00:00Z", True, "3600 s", ""),
        ({"expires_at": {"body": "x", "unit": "ms"}}, (NOW + 60) * 1000, True, "60 s", ""),
        ({"expires_in": "x"}, 1, False, "1 s, which is too short to be believed", "in minutes or hours"),
        ({"expires_in": "x"}, 86_400_000, False, "3 years: implausible", "set `unit: ms`"),
        ({"expires_at": "x"}, (NOW + 60) * 1000, False, "implausible", "set `unit: ms`"),
        ({"expires_at": "x"}, 60, False, "expired", "its `unit`"),
        ({"expires_in": "x"}, "1h", False, "must be a number", "its `unit`"),
        ({"expires_at": "x"}, "tomorrow", False, "must be a time", "its `unit`"),
    ],
)  # fmt: skip
def test_a_lifetime_is_shown_with_its_unit_or_with_what_to_change(
    at: dict[str, object], said: object, fits: bool, shown: str, remedy: str
) -> None:
    fields = SessionFields.model_validate({"access_token": "t", **at})
    answer = Response(200, {}, {"t": "tok", "x": said}, True, NOW, NOW, NOW)
    ((_part, ok, text, todo),) = of_session(fields, answer, {})
    assert ok is fits
    assert shown in text
    assert remedy in todo
