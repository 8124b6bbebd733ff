"""Identifies the job of a trigger whose response is lost: by its id, or by times on the server's clock. Pure."""
# Decision 0063.

from collections.abc import Collection
from datetime import UTC, datetime

from runner.external import ExternalText
from runner.frozen import Frozen
from runner.models import SyncJob

CLOCK_SECONDS = 3.0  # the skew is known to two seconds, and a start time may be truncated to the second
SOON_SECONDS = 120.0  # a job that started at most this long after a trigger belongs to it
START_SECONDS = 3600.0  # a queued job may belong to it until then; a later one is another's


class Match(Frozen):
    """The job of our trigger, if it is certain; the first running job; whether a job cannot be identified."""

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
    """Identifies the job of the trigger that was sent at `since` (Unix seconds, our clock) among `jobs`.

    `unread` are entries with an unreadable id or status. One that started with our trigger may be ours. One without a
    time may be ours where no other job is; so may a job that a listing that is not `whole` leaves out.

    `skew`: how far the server's clock is ahead of ours; None where it is unknown: then no job with a start time is
    certain.
    """
    running = next((job for job in jobs if not job.status.terminal), None)
    verdicts = [started(job, since, skew) for job in jobs]
    candidates = [job for job, ours in zip(jobs, verdicts, strict=True) if ours]
    odd = [started(job, since, skew) for job in unread if unix(job.start_time) is not None]
    doubtful = len(candidates) > 1 or None in verdicts or not all(one is False for one in odd)
    if not candidates:
        doubtful = doubtful or not whole or len(odd) < len(unread)
    return Match(candidates[0] if len(candidates) == 1 and not doubtful else None, running, doubtful)


def started(job: SyncJob, since: float, skew: float | None) -> bool | None:
    """Whether the trigger that was sent at `since` started the job; None where that is uncertain.

    A job that has not started may be ours; one that ended without a start time is not.
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
    """Parses a time of the API to Unix seconds, in UTC where it names no zone; None for an invalid time."""
    try:
        moment = datetime.fromisoformat("" if text is None else text.raw)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
