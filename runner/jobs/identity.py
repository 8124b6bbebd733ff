"""Which job is that of a trigger whose answer is not known: by its id, or by times on the server's own clock. Pure."""
# Decision 0063.

from collections.abc import Collection
from datetime import UTC, datetime

from runner.external import ExternalText
from runner.frozen import Frozen
from runner.models import SyncJob

CLOCK_SECONDS = 3.0  # the skew is known to two seconds, and a start time may be cut to the second
SOON_SECONDS = 120.0  # a job that started so long after its trigger at most is the trigger's
START_SECONDS = 3600.0  # one that waited in a queue may be, until then; one that started later is another's


class Match(Frozen):
    """The job of our trigger, where there is certainty; the first that runs; whether one cannot be told apart."""

    ours: SyncJob | None = None
    running: SyncJob | None = None
    doubtful: bool = False


def match(
    jobs: Collection[SyncJob],
    since: float,
    skew: float | None,
    unread: Collection[SyncJob] = (),
    *,
    whole: bool = True,
) -> Match:
    """What `jobs` say of the trigger that left at `since` (Unix seconds, our clock).

    `unread` are entries whose id or status cannot be read. One that started with our trigger may be ours; one without a
    time, and all that a listing that is not `whole` does not show, may be where nothing else is.

    `skew` is how far the server's clock is ahead of ours; None where it is not known, and then nothing is certain that
    has a start time.
    """
    running = next((job for job in jobs if not job.status.terminal), None)
    told = [started(job, since, skew) for job in jobs]
    candidates = [job for job, ours in zip(jobs, told, strict=True) if ours]
    odd = [started(job, since, skew) for job in unread if unix(job.start_time) is not None]
    doubtful = len(candidates) > 1 or None in told or not all(one is False for one in odd)
    if not candidates:
        doubtful = doubtful or not whole or len(odd) < len(unread)
    return Match(candidates[0] if len(candidates) == 1 and not doubtful else None, running, doubtful)


def started(job: SyncJob, since: float, skew: float | None) -> bool | None:
    """Whether the job started by the trigger that left at `since`; None where it cannot be told.

    A job that is still to start may be ours; one that has ended without a start time is not.
    """
    at = unix(job.start_time)
    if at is None:
        return not job.status.terminal
    if skew is None:
        return None
    later = at - (since + skew)
    if SOON_SECONDS < later <= START_SECONDS:
        return None
    return -CLOCK_SECONDS <= later <= SOON_SECONDS


def unix(text: ExternalText | None) -> float | None:
    """A time of the API in Unix seconds, in UTC where it names no zone; None for anything that is no time."""
    try:
        moment = datetime.fromisoformat("" if text is None else text.raw)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
