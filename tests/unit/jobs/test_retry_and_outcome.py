"""What decides without I/O: the plan, the state machine, pacing, retries, the exit code."""

import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceeded,
    ExitCode,
    LoginRefused,
    OutcomeUnknown,
    RunnerError,
    SecretError,
    Unreachable,
    UsageError,
)
from runner.http import retry
from runner.http.messages import from_outside
from runner.http.retry import Policy, Safety
from runner.jobs.outcome import FINAL, exit_code, of_error
from runner.jobs.plan import plan, zone
from runner.models import Outcome
from runner.outcomes import MEANINGS
from runner.settings import SyncSettings

TODAY = date(2026, 3, 1)
BERLIN = ZoneInfo("Europe/Berlin")


def _plan(*syncs: SyncSettings, last: float | None = None) -> list[tuple[str, str | None, str | None]]:
    planned = plan(syncs, today=TODAY, time_zone=BERLIN, last_success=lambda _name: last)
    return [(sync.name, sync.start_date, sync.end_date) for sync in planned]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-31", "2026-01-31"),
        ("today", "2026-03-01"),
        ("Yesterday", "2026-02-28"),
        ("-7d", "2026-02-22"),
        ("+2w", "2026-03-15"),
        ("last-success", None),
    ],
)
def test_a_date_is_absolute_or_relative(text: str, day: str | None) -> None:
    assert _plan(SyncSettings(type="health", start=text)) == [("health", day, None)]


def test_last_success_is_the_day_of_the_last_completed_run_in_the_zone() -> None:
    late = datetime(2026, 2, 27, 23, 30, tzinfo=UTC).timestamp()  # the 28th in Berlin
    assert _plan(SyncSettings(type="health", start="last-success"), last=late) == [("health", "2026-02-28", None)]


@pytest.mark.parametrize("text", ["lately", "2026-02-30", "-7x", "31.01.2026", "-999999w"])
def test_any_other_date_is_an_error_of_its_sync_alone_that_names_the_forms(text: str) -> None:
    syncs = [SyncSettings(type="health", start=text), SyncSettings(type="workouts", start="-7d")]
    bad, good = plan(syncs, today=TODAY, time_zone=BERLIN, last_success=lambda _name: None)
    assert bad.error is not None
    assert re.match(r"syncs\.health\.start: invalid date `.*`; give 2026-01-31, today", bad.error)
    assert (good.error, good.start_date) == (None, "2026-02-22")


def test_a_start_after_the_end_means_that_there_is_nothing_to_do() -> None:
    today = datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()
    syncs = [SyncSettings(type="health", start="last-success", end="yesterday"), SyncSettings(type="workouts")]
    planned = plan(syncs, today=TODAY, time_zone=BERLIN, last_success=lambda _name: today)
    assert [one.nothing for one in planned] == ["nothing to do: start (2026-03-01) is after end (2026-02-28)", None]
    assert [one.error for one in planned] == [None, None]


def test_a_date_that_yaml_has_read_is_a_date() -> None:
    read = SyncSettings.model_validate({"type": "health", "start": date(2026, 1, 31), "end": "today"})
    assert _plan(read) == [("health", "2026-01-31", "2026-03-01")]
    with pytest.raises(ValueError, match="without a time"):
        SyncSettings.model_validate({"type": "health", "start": datetime(2026, 1, 31, 9, tzinfo=UTC)})


def test_syncs_come_after_those_they_name() -> None:
    syncs = (SyncSettings(type="a", after=("b",)), SyncSettings(type="b", after=("c",)), SyncSettings(type="c"))
    assert [name for name, _, _ in _plan(*syncs)] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("syncs", "told"),
    [
        ((SyncSettings(type="a", after=("b",)), SyncSettings(type="b", after=("a",))), "wait for each other"),
        ((SyncSettings(type="a", after=("x",)),), "no sync named `x`; known: a"),
        ((SyncSettings(type="a"), SyncSettings(type="a")), "is used twice"),
    ],
)
def test_an_order_that_can_not_be_is_an_error(syncs: tuple[SyncSettings, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        _plan(*syncs)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd"])
def test_an_unknown_zone_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match="time_zone: unknown zone"):
        zone(name)


def test_what_may_be_sent_again() -> None:
    lost, not_sent = Unreachable("x", sent=True), Unreachable("x", sent=False)
    for safety in Safety:
        assert retry.reason(not_sent, safety) == "connect"
        assert retry.reason(429, safety) == "rate_limited"
        assert retry.reason(503, safety) == "unavailable"
        assert [retry.reason(status, safety) for status in (200, 400, 401, 404, 409, 418)] == [None] * 6
    assert retry.reason(lost, Safety.IDEMPOTENT) == "lost_answer"
    assert retry.reason(502, Safety.IDEMPOTENT) == "server_error"
    assert retry.reason(lost, Safety.NON_IDEMPOTENT) is None
    assert retry.reason(502, Safety.NON_IDEMPOTENT) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("99999999999999999999", 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:00:00 GMT", 86_400.0),
        ("Sun, 99 Nov 1994 08:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(value: str | None, seconds: float | None) -> None:
    now = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    assert retry.parse_retry_after(value, now) == seconds


def test_what_is_asked_is_counted_from_the_answers_own_date() -> None:
    at = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    later = "Sun, 06 Nov 1994 08:49:47 GMT"
    assert retry.retry_after(from_outside({"retry-after": later, "date": "Sun, 06 Nov 1994 08:49:40 GMT"}), at) == 7.0
    assert retry.retry_after(from_outside({"retry-after": later}), at) == 10.0
    assert retry.retry_after(from_outside({"retry-after": later, "date": "nonsense"}), at) == 10.0
    assert retry.retry_after(from_outside({"retry-after": "3"}), at) == 3.0
    assert retry.retry_after({}, at) is None


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own zone is not UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_dates_without_a_zone_are_utc_and_nonsense_is_none() -> None:
    assert retry.http_date("Sun, 06 Nov 1994 08:49:47") == datetime(1994, 11, 6, 8, 49, 47, tzinfo=UTC).timestamp()
    assert (
        retry.http_date("Sun, 06 Nov 1994 08:49:47 +0100") == datetime(1994, 11, 6, 7, 49, 47, tzinfo=UTC).timestamp()
    )
    assert [retry.http_date(value) for value in (None, "", "soon", "Sun, 06 Nov 99999 08:49:47 GMT")] == [None] * 4


def test_a_server_fails_by_5xx_and_408_and_not_by_turning_one_away_for_coming_too_often() -> None:
    fails = {status for status in range(100, 600) if retry.failure(status)}
    assert fails == {408, 425, *range(500, 600)}


def test_the_wait_doubles_with_each_try_up_to_its_bound() -> None:
    def highest(_low: float, high: float) -> float:
        return high

    policy = Policy(5, 0.5, 6.0)
    assert [retry.wait(policy, attempt, None, highest) for attempt in (1, 2, 3, 4, 5, 6, 10_000)] == [
        0.5,
        1,
        2,
        4,
        6,
        6,
        6,
    ]
    assert [retry.wait(policy, 1, asked, highest) for asked in (0.0, 1.0, 4.0, 100.0)] == [0.25, 1.25, 4.4, 100.5]
    assert retry.wait(policy, 9, 100.0, highest) == 106.0
    assert retry.wait(policy, 3, 2.0, lambda low, _high: low) == 2.0
    assert (Policy().attempts, Policy().wait, Policy().max_wait) == (5, 0.5, 30.0)


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(value: str) -> None:
    found = retry.parse_retry_after(value, 0.0)
    assert found is None or 0.0 <= found <= 86_400.0


@given(st.integers(1, 100), st.floats(0, 3600) | st.none(), st.randoms(use_true_random=False))
def test_a_wait_is_jittered_below_its_bound_and_never_before_what_was_asked(
    attempt: int, asked: float | None, rng: random.Random
) -> None:
    policy = Policy(5, 0.5, 30.0)
    seconds = retry.wait(policy, attempt, asked, rng.uniform)
    if asked is None:
        assert 0.0 <= seconds <= min(30.0, 0.5 * 2 ** (attempt - 1))
    else:
        assert asked <= seconds <= asked + max(0.25, asked * 0.1)


def test_waits_are_spread_over_their_whole_range() -> None:
    waits = [retry.wait(Policy(5, 1.0, 30.0), 4, None) for _ in range(400)]
    assert min(waits) < 1.0
    assert max(waits) > 7.0


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["completed", "completed"], 0),
        (["failed", "failed"], 4),
        (["cancelled"], 4),
        (["completed", "failed"], 5),
        (["completed", "unreachable"], 5),
        (["completed", "authentication"], 3),
        (["completed", "contract", "skipped"], 9),
        (["completed", "configuration", "authentication"], 3),
        (["completed", "authentication", "unreachable"], 5),
        (["completed", "skipped"], 5),
        (["unreachable", "skipped"], 7),
        (["deadline", "skipped"], 6),
        (["authentication", "skipped"], 3),
        (["contract", "failed"], 9),
        (["completed", "unknown"], 8),
        (["completed", "defect"], 1),
        (["configuration"], 2),
    ],
)
def test_the_exit_code_follows_from_the_outcomes(outcomes: list[str], code: int) -> None:
    assert exit_code([Outcome(one) for one in outcomes]) == code


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_alone_has_its_code_and_beside_a_success_it_is_partial_where_a_retry_can_help(
    outcome: Outcome,
) -> None:
    alone = {
        "completed": 0, "defect": 1, "configuration": 2, "authentication": 3, "failed": 4, "cancelled": 4, "skipped": 4,
        "deadline": 6, "unreachable": 7, "unknown": 8, "contract": 9, "interrupted": 143,
    }  # fmt: skip
    assert exit_code([outcome]) == alone[outcome]
    beside = {"completed": 0, "defect": 1, "unknown": 8, "configuration": 2, "authentication": 3, "contract": 9}
    assert exit_code([Outcome.COMPLETED, outcome]) == beside.get(outcome, 5)
    assert exit_code([outcome, Outcome.FAILED], interrupted=ExitCode.SIGINT) == 130


def test_where_nothing_completed_what_a_person_must_look_at_comes_first() -> None:
    order = [
        "defect",
        "unknown",
        "authentication",
        "configuration",
        "contract",
        "deadline",
        "unreachable",
        "interrupted",
        "failed",
    ]
    for number, outcome in enumerate(order):
        rest = [Outcome(one) for one in order[number:]]
        assert exit_code(reversed(rest)) == exit_code([Outcome(outcome)]), outcome


def test_an_interrupt_names_itself_unless_all_was_done() -> None:
    assert exit_code([Outcome.COMPLETED, Outcome.INTERRUPTED], interrupted=ExitCode.SIGTERM) == 143
    assert exit_code([Outcome.COMPLETED], interrupted=ExitCode.SIGTERM) == 0


@given(st.lists(st.sampled_from(list(Outcome)), max_size=5))
def test_every_mix_of_outcomes_has_a_code_and_only_full_success_is_0(outcomes: list[Outcome]) -> None:
    code = exit_code(outcomes)
    assert (code == 0) == all(outcome is Outcome.COMPLETED for outcome in outcomes)


@pytest.mark.parametrize(
    "error",
    [
        UsageError("x"),
        SecretError("x"),
        LoginRefused("x"),
        AuthenticationError("x"),
        DeadlineExceeded("x"),
        Unreachable("x"),
        OutcomeUnknown("x"),
        ContractError("x"),
        RunnerError("x"),
    ],
)
def test_a_sync_that_ended_by_an_error_gives_the_errors_own_code(error: RunnerError) -> None:
    assert exit_code([of_error(error)]) == error.exit_code


def test_every_outcome_has_a_severity_and_but_for_success_a_remedy() -> None:
    assert set(MEANINGS) == set(Outcome)
    assert [outcome for outcome, meaning in MEANINGS.items() if not meaning.remedy] == [Outcome.COMPLETED]
    assert {meaning.severity for meaning in MEANINGS.values()} == {"info", "warning", "error"}
    assert sorted(FINAL) == [2, 3, 8, 9]


def test_every_code_says_what_it_means_and_whether_a_retry_helps() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143]
    assert all(code.meaning for code in ExitCode)
    assert {code.retry_helps for code in ExitCode} == {"", "no", "yes", "perhaps", "look first"}
