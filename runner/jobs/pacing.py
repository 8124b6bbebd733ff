"""When to poll a running job again. Pure: what was seen in, seconds out; nothing here reads a clock.

A job that tells its progress is polled when it should be over, by a straight line through what was seen; one that works
steadily and tells it in coarse steps, while its steps allow it to be over. Without progress, each poll can only be a share
of the time already watched away, and the length T of the job decides what is possible: at less than 10 polls for each
doubling of T, it is found over at most 7.5 % late; for 2 % it would take 35.
"""
# Decision 0051.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import gcd, inf

from runner.frozen import Frozen
from runner.models import JobStatus, SyncJob

BLIND_SHARE = 0.075  # of the time watched, between two polls that nothing guides: less than 10 for each doubling
BLIND_STEPS = 20  # times the shortest pause: the least between such polls, a second by default
LED_SHARE, LED_STEPS = 0.15, 80  # the same where two predictions agreed
AGREE = 0.1  # how far they may differ, as a share of the job's length so far
LATE_SHARE = 0.004  # of the predicted length: polled so much after the predicted end, for progress told in steps
LAST_SHARE = 0.03  # of the time watched: a pause shorter than that is for a job that is all but over
BACK_OFF = 2.0  # and where it was not, each further such pause is at least so many times the one before
SWEEP_SHARE, SWEEP_STEPS = 0.015, 5  # of the time watched, and times the shortest pause: between polls in a window
WINDOW_STEPS = 100  # times the shortest pause: no window before, where it would cost more polls than it saves time
SWEEPS = 10  # polls in a window, at most: a wider one is left to narrow
FINE = 1.0  # per cent: steps up to that need no window, the line is as good
JITTER = 0.02  # of its latest end: how far a window may be turned inside out by a server that is not quite steady


class Pace(Frozen):
    """Bounds of the time between two polls of a job, in seconds."""

    min: float = 0.05
    max: float = 1800.0


@dataclass(slots=True)
class PollBudget:
    """The jobs that a run may watch at once, and how many polls a second it has for them all, about."""

    polls_per_second: float = 20.0
    jobs: int = 0

    @contextmanager
    def joined(self, jobs: int) -> Iterator[None]:
        """So many more, for the length of the block."""
        self.jobs += jobs
        try:
            yield
        finally:
            self.jobs -= jobs

    @property
    def least(self) -> float:
        """Seconds between two polls of one job; up to `polls` jobs need no such bound."""
        return self.jobs / self.polls_per_second if self.jobs > self.polls_per_second else 0.0


@dataclass(slots=True)
class Window:
    """When a job can end that works steadily, though it tells its progress in coarse steps. Times as in `Pacer`.

    What is told has been done and the next step has not: each poll bounds the end from both sides.
    """

    waited: float = 0.0  # the job had not begun then
    began: float | None = None  # and had by then
    grain: int = 0  # what divides all progress so far, in hundredths of a per cent
    step: float = 0.0  # of the progress, in per cent; 0 while it is not known
    soonest: float = 0.0
    latest: float = inf

    def see(self, job: SyncJob, watched: float) -> None:
        """Narrow it by one poll."""
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
        """Whether all that was seen can be one steady job's."""
        return self.soonest <= (1 + JITTER) * self.latest

    @property
    def narrow(self) -> bool:
        """Whether it tells the end about as well as two predictions that agree."""
        return self.steady and self.latest - self.soonest <= AGREE * self.latest < inf

    def next_poll(self, watched: float, least: float) -> float | None:
        """Seconds until it; None where the window says nothing: too wide, over, or not steady.

        `least` is the shortest time between two polls while the job may be over.
        """
        left = self.latest * (1 + LATE_SHARE) - watched
        sweep = max(SWEEP_SHARE * watched, least)
        wide = self.latest - max(self.soonest, watched) > SWEEPS * sweep
        if self.step <= FINE or left <= 0 or wide or not self.steady:
            return None
        return min(max(self.soonest - watched, 0.0) + sweep, left)


@dataclass(slots=True)
class Pacer:
    """The polls of one job so far. Times are seconds since its trigger left, or else since watching began."""

    pace: Pace
    looked: bool = False
    first: tuple[float, float] | None = None  # time and progress where the line begins
    last: tuple[float, float] = (0.0, 0.0)
    expected: float | None = None  # when the job should end, by what was seen
    early: int = 0  # polls in a row at which it should have ended
    window: Window = field(default_factory=Window)

    def next_poll(self, job: SyncJob, watched: float, least: float = 0.0) -> float:
        """Seconds from the time `watched` until the next poll; `job` is what was seen then.

        `least` is what a crowd of jobs asks for; the first poll and one at a predicted end come when they are due.
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
        """Draw the line again where the job moved on; true where it then ends about where it did before.

        Of the line from the first progress seen and that of the last stretch, the one that ends sooner counts.
        """
        if done <= self.last[1]:
            return False
        before, now = self.expected, (watched, done)
        self.expected = min(_end(self.first or (0.0, 0.0), now), _end(self.last, now))
        self.first, self.last = self.first or now, now
        return before is not None and abs(self.expected - before) <= AGREE * self.expected


def progress(job: SyncJob) -> float:
    """Per cent done, by the job's own figure or its counts of items, whichever is more; 0 where it tells neither."""
    counted = 100.0 * job.processed_items / job.total_items if job.total_items and job.processed_items else 0.0
    return min(100.0, max(job.progress or 0.0, counted))


def _end(start: tuple[float, float], now: tuple[float, float]) -> float:
    (began, begun), (at, done) = start, now
    return at + (100.0 - done) * (at - began) / (done - begun) if done > begun else inf
