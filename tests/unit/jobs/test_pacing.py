"""The pace of watching, by simulation: how late a job's end is seen, and how many requests that takes."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from math import ceil, floor, log2, sqrt

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.external import ExternalText
from runner.jobs.pacing import BLIND_SHARE, Pace, Pacer, PollBudget
from runner.models import JobStatus, SyncJob

DAY = 86_400.0
USUAL = Pace()
EXCHANGE = 0.003  # seconds
LENGTHS = st.floats(0, 3, exclude_min=True) | st.floats(3, 600) | st.floats(600, DAY)
Shape = Callable[[float], float]  # the share that is done when a share of the time has passed


def stepped(shape: Shape, steps: int) -> Shape:
    return lambda time: floor(shape(time) * steps) / steps


SHAPES: dict[str, Shape] = {
    "even": lambda time: time,
    "fast, then slow": sqrt,
    "slow, then fast": lambda time: time**2,
    "late to begin": lambda time: max(0.0, 2 * time - 1),
    "stuck at 99 %": lambda time: min(0.99, 3 * time),
    "stuck at 50 %": lambda time: min(0.5, 2 * time),
    "all at the end": lambda time: max(0.0, 10 * time - 9),
    "back and forth": lambda time: time if floor(time * 20) % 2 else time / 2,
}


def watched(
    length: float, shape: Shape | None, pace: Pace = USUAL, items: int | None = None, queued: float = 0.0
) -> tuple[float, int]:
    """How long after its end the job was seen to be over, and how many requests that took.

    It tells its `items` where there are any, and begins when it was `queued` for so many seconds.
    """
    pacer, now, polls_per_second = Pacer(pace), 0.0, 0
    job = SyncJob(ExternalText("1"), JobStatus.PENDING)
    while True:
        pause = pacer.next_poll(job, now)
        assert 0 < pause <= pace.max
        now, polls_per_second = now + pause + EXCHANGE, polls_per_second + 1
        if now >= queued + length:
            return now - queued - length, polls_per_second
        if now < queued:
            continue
        done = None if shape is None else 100 * shape((now - queued) / length)
        job = SyncJob(ExternalText("1"), JobStatus.RUNNING, progress=done)
        if items and done is not None:
            job = replace(job, total_items=items, processed_items=round(items * done / 100))


def most_requests(length: float) -> float:
    """30, and 10 more with each doubling beyond 10 s."""
    return 30 + 10 * log2(max(length, 10.0) / 10)


def of_the_shell(length: float) -> int:
    """Polls of a script that looks at once, and then each second."""
    return ceil(length) + 1


@example(85_956.0, sqrt, 3)
@given(LENGTHS, st.sampled_from(list(SHAPES.values())), st.integers(1, 1000))
def test_no_shape_of_progress_takes_more_requests_than_the_budget(length: float, shape: Shape, steps: int) -> None:
    for one in (shape, stepped(shape, steps)):
        assert watched(length, one)[1] <= most_requests(length)
    assert watched(length, stepped(shape, steps), items=steps)[1] <= most_requests(length)


@given(LENGTHS)
def test_without_progress_requests_hold_the_budget_and_the_delay_what_it_leaves(length: float) -> None:
    delay, polls_per_second = watched(length, None)
    assert polls_per_second <= min(most_requests(length), of_the_shell(length) + 1)
    assert delay <= max(1.0, BLIND_SHARE * length) + 2 * EXCHANGE


@given(LENGTHS, st.sampled_from([100, 365, 1000, 10**6]))
def test_a_job_that_tells_its_progress_is_found_over_at_once(length: float, steps: int) -> None:
    delay, polls_per_second = watched(length, stepped(SHAPES["even"], steps))
    assert delay <= 0.2 + 0.02 * length
    assert polls_per_second <= of_the_shell(length) + 1
    if length >= 60:
        assert polls_per_second <= max(of_the_shell(length) / 3, 22)


@given(st.floats(30, DAY), st.integers(2, 400), st.floats(0, 60))
def test_a_steady_job_of_few_items_is_found_over_at_once_as_well(length: float, items: int, queued: float) -> None:
    delay, polls_per_second = watched(length, stepped(SHAPES["even"], items), items=items, queued=queued)
    assert delay <= 0.35 + 0.02 * (queued + length)
    assert polls_per_second <= min(most_requests(queued + length), of_the_shell(queued + length))


@given(st.floats(30, DAY), st.sampled_from([2, 5, 10, 20, 50, 100]))
def test_so_is_one_that_tells_whole_steps_of_per_cent(length: float, steps: int) -> None:
    delay, polls_per_second = watched(length, stepped(SHAPES["even"], steps))
    assert delay <= 0.35 + 0.02 * length
    assert polls_per_second <= min(most_requests(length), of_the_shell(length))


@given(LENGTHS, st.sampled_from(["fast, then slow", "slow, then fast", "late to begin"]))
def test_uneven_progress_costs_no_more_than_the_blind_way(length: float, shape: str) -> None:
    assert watched(length, SHAPES[shape])[0] <= max(1.0, BLIND_SHARE * length) + 2 * EXCHANGE


@given(LENGTHS, st.sampled_from([None, *SHAPES.values()]), st.floats(0.001, 5), st.floats(5, 600))
@settings(max_examples=50)
def test_pauses_stay_within_their_bounds(length: float, shape: Shape | None, least: float, most: float) -> None:
    watched(min(length, 3600.0), shape, Pace(least, most))  # asserts each pause


def test_items_tell_progress_as_well() -> None:
    pacer = Pacer(Pace())
    seen = SyncJob(ExternalText("1"), JobStatus.RUNNING, total_items=200, processed_items=199)
    assert pacer.next_poll(seen, 10.0) < 0.2


def test_the_bounds_that_are_told_are_met() -> None:
    """The figures of docs/performance.md, by the same rules."""
    for length in (2.0, 10.0, 60.0, 3600.0):
        delay, polls_per_second = watched(length, stepped(SHAPES["even"], 365))
        assert delay <= 0.35 + 0.02 * length
        assert polls_per_second <= (of_the_shell(length) if length < 60 else of_the_shell(length) / 3)


def test_a_crowd_of_jobs_is_looked_at_less_often_but_none_is_seen_late() -> None:
    poll_budget, pacer, now, polls_per_second = PollBudget(polls_per_second=50.0), Pacer(USUAL), 0.0, 0
    with ExitStack() as stack:
        for jobs in (1, 999):
            stack.enter_context(poll_budget.joined(jobs))
        assert poll_budget.least == 20.0
        seen = SyncJob(ExternalText("1"), JobStatus.PENDING)
        while now < 60.0:
            now, polls_per_second = now + pacer.next_poll(seen, now, poll_budget.least), polls_per_second + 1
            seen = SyncJob(ExternalText("1"), JobStatus.RUNNING, progress=min(100.0, now / 0.6))
    assert polls_per_second <= 5
    assert now <= 60.5
    assert poll_budget.least == 0.0


def test_the_first_look_comes_when_the_shortest_pause_is_over_since_the_trigger_left() -> None:
    for expired, pause in ((2e-6, USUAL.min), (USUAL.min / 2, USUAL.min / 2), (USUAL.min, 0.0), (5.0, 0.0)):
        assert Pacer(USUAL).next_poll(SyncJob(ExternalText("1"), JobStatus.PENDING), expired) == pytest.approx(
            pause, abs=1e-5
        )
