"""When to look at a running job again. Pure: what was seen in, seconds out; nothing here reads a clock.

A job that tells its progress is looked at when it should be over, by a straight line through what was seen. Without that,
each look can only be a share of the time already watched away, and the length T of the job decides what is possible: at
10 looks for each doubling of T, it is found over at most 7.2 % late (2 ** 0.1); for 2 % it would take 35.
"""

from dataclasses import dataclass

from runner.frozen import Frozen
from runner.models import Job

BLIND_SHARE = 2**0.1 - 1  # of the time watched, between two looks that nothing guides: 10 for each doubling
BLIND_STEPS = 20  # times the shortest pause: the least between such looks, a second by default
LED_SHARE, LED_STEPS = 0.15, 80  # the same where two predictions agreed
AGREE = 0.05  # how far they may differ, as a share of the job's length so far
LATE_SHARE = 0.004  # of the predicted length: looked at so much after the predicted end, for progress told in steps
BACK_OFF = 1.6  # after a prediction that proved too early, each further pause is at least so many times the last


class Pace(Frozen):
    """Bounds of the time between two looks at a job, in seconds."""

    min: float = 0.05
    max: float = 1800.0


@dataclass(slots=True)
class Pacer:
    """The looks at one job so far. Times are seconds since watching began."""

    pace: Pace
    first: tuple[float, float] | None = None  # time and progress where the line begins
    last: tuple[float, float] = (0.0, 0.0)
    expected: float | None = None  # when the job should end, by the last look
    pause: float = 0.0

    def next_look(self, job: Job, watched: float) -> float:
        """Seconds from the time `watched` until the next look; `job` is what was seen then."""
        before = self.expected
        self._predict(progress(job), watched)
        agreed = before is not None and self.expected is not None and abs(self.expected - before) <= AGREE * self.expected
        share, steps = (LED_SHARE, LED_STEPS) if agreed else (BLIND_SHARE, BLIND_STEPS)
        self.pause = self._within(max(steps * self.pace.min, share * watched), before, watched)
        return self.pause

    def _predict(self, done: float, watched: float) -> None:
        """The end, by the line from where progress was first seen; the last stretch counts where it is the steeper."""
        if watched <= 0 or done <= self.last[1]:
            self.expected = None if done <= 0 else self.expected
            return
        ends = [_end(start, (watched, done)) for start in (self.first or (0.0, 0.0), self.last)]
        self.expected = min(ends)
        self.first, self.last = self.first or (watched, done), (watched, done)

    def _within(self, longest: float, before: float | None, watched: float) -> float:
        if watched <= 0:
            return self.pace.min
        pause = longest
        if self.expected is not None:
            pause = min(longest, max(self.expected * (1 + LATE_SHARE) - watched, self.pace.min / 2))
            if before is not None and before <= watched:
                pause = min(longest, max(pause, BACK_OFF * min(self.pause, pause)))
        return min(max(pause, self.pace.min / 2), max(self.pace.max, self.pace.min))


def progress(job: Job) -> float:
    """Per cent done, by the job's own figure or its counts of items, whichever is more; 0 where it tells neither."""
    counted = 100.0 * job.processed_items / job.total_items if job.total_items and job.processed_items else 0.0
    return min(100.0, max(job.progress or 0.0, counted))


def _end(start: tuple[float, float], now: tuple[float, float]) -> float:
    (began, begun), (at, done) = start, now
    return at + (100.0 - done) * (at - began) / (done - begun) if done > begun else float("inf")
