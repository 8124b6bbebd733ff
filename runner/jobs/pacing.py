"""Decides when to poll a running job again. Pure: from observations to seconds; reads no clock.

A job with fine progress is polled at its predicted end, by a straight line through the observed values. A steady job with
coarse progress is polled while its steps allow the end. Without progress, each pause can only be a share of the time already
watched, and the length T of the job decides what is possible: with less than 10 polls per doubling of T, its end is seen at
most 7.5 % late; 2 % would take 35 polls.
"""
# Decision 0051.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import gcd, inf

from runner.frozen import Frozen
from runner.models import JobStatus, SyncJob

BLIND_SHARE = 0.075  # of the time watched, between two polls without a prediction: less than 10 per doubling
BLIND_STEPS = 20  # times the shortest pause: the minimum between such polls, a second by default
LED_SHARE, LED_STEPS = 0.15, 80  # the same where two predictions agreed
AGREE = 0.1  # their largest difference, as a share of the job's length so far
LATE_SHARE = (
    0.004  # of the predicted length: the poll is this much after the predicted end, since progress comes in steps
)
LAST_SHARE = 0.03  # of the time watched: a shorter pause means that the job is almost done
BACK_OFF = 2.0  # if it was not, each further such pause grows at least by this factor
SWEEP_SHARE, SWEEP_STEPS = 0.015, 5  # of the time watched, and times the shortest pause: between polls in a window
WINDOW_STEPS = 100  # times the shortest pause: no window below that: it would cost too many polls for the saved time
SWEEPS = 10  # maximum polls in a window: a wider window is narrowed first
FINE = 1.0  # per cent: smaller steps need no window, the line is as precise
JITTER = 0.02  # of its latest end: how far the window's ends may cross, for a server that is not quite steady


class Pace(Frozen):
    """Bounds of the time between two polls of a job, in seconds."""

    min: float = 0.05
    max: float = 1800.0


@dataclass(slots=True)
class PollBudget:
    """The jobs that a run polls at once, and the approximate number of polls per second for all of them."""

    polls_per_second: float = 20.0
    jobs: int = 0

    @contextmanager
    def joined(self, jobs: int) -> Iterator[None]:
        """Counts this many more jobs, for the length of the block."""
        self.jobs += jobs
        try:
            yield
        finally:
            self.jobs -= jobs

    @property
    def least(self) -> float:
        """Returns the seconds between two polls of one job; up to `polls` jobs need no such bound."""
        return self.jobs / self.polls_per_second if self.jobs > self.polls_per_second else 0.0


@dataclass(slots=True)
class Window:
    """The time window in which a steady job can end, although its progress comes in coarse steps. Times as in `Pacer`.

    A reported step is done and the next one is not: each poll bounds the end from both sides.
    """

    waited: float = 0.0  # latest time at which the job had not started
    began: float | None = None  # earliest time at which it had
    grain: int = 0  # greatest common divisor of all progress so far, in hundredths of a per cent
    step: float = 0.0  # of the progress, in per cent; 0 while unknown
    soonest: float = 0.0
    latest: float = inf

    def see(self, job: SyncJob, watched: float) -> None:
        """Narrows the window by one poll."""
        if job.status is JobStatus.PENDING:
            self.waited = watched
            return
        if self.began is None:
            self.began = watched
        done = progress(job)
        self.grain = gcd(self.grain, round(100 * done))
        self.step = 100 / job.total_items if job.total_items else self.grain / 100
        if done:
            self.latest = min(self.latest, self.waited + 100 * (watched - self.waited) / done)
        if self.step:
            share = min(100.0, done + self.step)
            self.soonest = max(self.soonest, self.began + 100 * (watched - self.began) / share)

    @property
    def steady(self) -> bool:
        """Whether all observations can belong to one steady job."""
        return self.soonest <= (1 + JITTER) * self.latest

    @property
    def narrow(self) -> bool:
        """Whether the window predicts the end about as well as two predictions that agree."""
        return self.steady and self.latest - self.soonest <= AGREE * self.latest < inf

    def next_poll(self, watched: float, least: float) -> float | None:
        """Returns the seconds until the next poll; None where the window is unusable: too wide, past, or not steady.

        `least` is the shortest time between two polls while the job may be done.
        """
        left = self.latest * (1 + LATE_SHARE) - watched
        sweep = max(SWEEP_SHARE * watched, least)
        wide = self.latest - max(self.soonest, watched) > SWEEPS * sweep
        if self.step <= FINE or left <= 0 or wide or not self.steady:
            return None
        return min(max(self.soonest - watched, 0.0) + sweep, left)


@dataclass(slots=True)
class Pacer:
    """The polls of one job so far. Times are seconds since its trigger was sent, or else since polling began."""

    pace: Pace
    looked: bool = False
    first: tuple[float, float] | None = None  # time and progress at the start of the line
    last: tuple[float, float] = (0.0, 0.0)
    expected: float | None = None  # predicted end of the job
    early: int = 0  # polls in a row after the predicted end
    window: Window = field(default_factory=Window)

    def next_poll(self, job: SyncJob, watched: float, least: float = 0.0) -> float:
        """Returns the seconds from the time `watched` until the next poll; `job` is what the poll at that time showed.

        `least` is the minimum for many jobs; the first poll and one at a predicted end are not delayed.
        """
        if not self.looked:
            self.looked = True
            return max(0.0, self.pace.min - watched)
        self.window.see(job, watched)
        windowed = watched >= WINDOW_STEPS * self.pace.min
        led = self._agrees(progress(job), watched) or (windowed and self.window.narrow)
        share, steps = (LED_SHARE, LED_STEPS) if led else (BLIND_SHARE, BLIND_STEPS)
        pause = max(steps * self.pace.min, share * watched, least)
        if self.expected is not None:
            left = self.expected * (1 + LATE_SHARE) - watched
            self.early = self.early + 1 if left < LAST_SHARE * watched else 0
            patience = max(self.pace.min, LATE_SHARE * watched) * BACK_OFF ** (self.early - 1)
            pause = min(pause, max(left, patience))
        if windowed:
            pause = min(pause, self.window.next_poll(watched, max(SWEEP_STEPS * self.pace.min, least)) or pause)
        return max(self.pace.min, min(pause, self.pace.max))

    def _agrees(self, done: float, watched: float) -> bool:
        """Recomputes the line where the job progressed; returns true where its end stays about the same.

        The earlier end counts: by the line from the first progress, or by that of the last stretch.
        """
        if done <= self.last[1]:
            return False
        before, now = self.expected, (watched, done)
        self.expected = min(_end(self.first or (0.0, 0.0), now), _end(self.last, now))
        self.first, self.last = self.first or now, now
        return before is not None and abs(self.expected - before) <= AGREE * self.expected


def progress(job: SyncJob) -> float:
    """Returns per cent done, the larger of the job's own figure and its item counts; 0 where it reports neither."""
    counted = 100.0 * job.processed_items / job.total_items if job.total_items and job.processed_items else 0.0
    return min(100.0, max(job.progress or 0.0, counted))


def _end(start: tuple[float, float], now: tuple[float, float]) -> float:
    (began, begun), (at, done) = start, now
    return at + (100.0 - done) * (at - began) / (done - begun) if done > begun else inf
