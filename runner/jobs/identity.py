"""Identifies the job of a trigger whose response is lost: by its id, or by times on the server's clock. Pure."""
# Decisions 0063, 0195.

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from runner.external import ExternalText, raw
from runner.frozen import Frozen
from runner.http.retry import http_date
from runner.models import SyncJob

CLOCK_SECONDS = 3.0  # the skew is known to two seconds, and a start time may be truncated to the second
SOON_SECONDS = 120.0  # a job that started at most this long after a trigger belongs to it
START_SECONDS = 3600.0  # a queued job may belong to it until then; a later one is another's
ZONE_STEP, ZONES = 900.0, 56  # zones are whole quarter hours from UTC, 14 hours at most
_ZONE = re.compile(r"\s*(?:(?:UTC|GMT|Z)|([+-]\d{2}:?\d{2})(?: [A-Z]{3,5})?)$")  # ISO 8601 allows no space before it
_TO_SECONDS = re.compile(r"\d[T ]\d{2}:?\d{2}:?\d{2}")
_TO_MINUTES = re.compile(r"\d[T ]\d{2}:?\d{2}")


class Match(Frozen):
    """The job of our trigger, if it is certain; the first running job; whether a job cannot be identified.

    `queued`: a job may become certain when it starts.
    """

    ours: SyncJob | None = None
    running: SyncJob | None = None
    doubtful: bool = False
    queued: bool = False


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
    time may be ours where no other job is; so may a job with an unreadable or vague start, and one that a listing that is
    not `whole` leaves out.

    `skew`: how far the server's clock is ahead of ours; None where it is unknown: then no job with a start time is
    certain.
    """
    running = next((job for job in jobs if not job.status.terminal), None)
    verdicts = [(job, started(job, since, skew)) for job in jobs]
    candidates = [job for job, ours in verdicts if ours]
    odd = [started(job, since, skew) for job in unread if unix(job.start_time) is not None]
    uncertain = [job for job, ours in verdicts if ours is None]
    doubtful = len(candidates) > 1 or any(map(_says_when, uncertain)) or not all(one is False for one in odd)
    if not candidates:
        vague = any(perhaps_started(job, since, skew) for job in jobs)
        doubtful = doubtful or not whole or len(odd) < len(unread) or bool(uncertain) or vague
    certain = candidates[0] if len(candidates) == 1 and not doubtful else None
    return Match(certain, running, doubtful, any(queued(job) for job in jobs))


def match_new(jobs: Collection[SyncJob], earlier: Collection[ExternalText], *, whole: bool) -> Match:
    """Identifies our trigger's job as the only one that is not among the ids `earlier`, which were listed before it.

    For an API that never reports a start. `whole` false: the listing leaves jobs out, or has some with no readable id.
    """
    new = [job for job in jobs if is_new(job, earlier)]
    running = next((job for job in jobs if not job.status.terminal), None)
    return Match(new[0] if len(new) == 1 and whole else None, running, doubtful=len(new) > 1 or not whole)


def is_new(job: SyncJob, earlier: Collection[ExternalText]) -> bool:
    """Whether the job is none of those that were listed earlier."""
    return not any(same_id(job.job_id, one) for one in earlier)


def _says_when(job: SyncJob) -> bool:
    """Whether the job's start is readable, or the API says that it has not started."""
    return queued(job) or unix(job.start_time) is not None


def alike(one: ExternalText | str | None, other: str | None) -> bool:
    """Whether two words are the same but for case and edge spaces, or one is not known."""
    return one is None or other is None or raw(one).strip().casefold() == other.strip().casefold()


def same_id(one: ExternalText, other: ExternalText) -> bool:
    """Whether two ids name one job in two forms: case, edge spaces, a number's leading zeros, a UUID's dashes and braces."""
    return _plain_id(one) == _plain_id(other)


def _plain_id(job_id: ExternalText) -> str:
    plain = job_id.raw.strip().casefold()
    digits = plain.removeprefix("urn:uuid:").translate({ord(mark): None for mark in "-{}"})
    if re.fullmatch(r"[0-9a-f]{32}", digits):
        return digits
    return plain.lstrip("0") or "0" if plain.isascii() and plain.isdigit() else plain


def reach_back(jobs: Sequence[SyncJob], before: float) -> bool:
    """Whether jobs that are listed newest first go back to a start before that Unix time."""
    first, last = (unix(jobs[place].start_time) if jobs else None for place in (0, -1))
    return last is not None and last < before and (first is None or first >= last)


def queued(job: SyncJob) -> bool:
    """Whether the job has not started yet, as far as the API reports it."""
    return job.start_time is None and "start_time" not in job.unreadable and not job.status.terminal


def started(job: SyncJob, since: float, skew: float | None) -> bool | None:
    """Whether the trigger that was sent at `since` started the job; None where that is uncertain.

    So it is for a job that has not started, and for a start that is unreadable or has no seconds. One that ended without
    a start time is not ours.
    """
    if job.start_time is None and "start_time" not in job.unreadable:
        return False if job.status.terminal else None
    at = unix(job.start_time)
    if at is None or skew is None:
        return None
    later = at - (since + skew)
    if SOON_SECONDS < later <= START_SECONDS:
        return None
    coarse = _precision(job.start_time)
    if coarse and -CLOCK_SECONDS - coarse <= later <= SOON_SECONDS:
        return None
    return -CLOCK_SECONDS <= later <= SOON_SECONDS


def perhaps_started(job: SyncJob, since: float, skew: float | None) -> bool:
    """Whether the trigger started the job if its time is in another zone than UTC, where it names none, or was
    truncated to the minute.

    That is too vague to take a job as ours, and enough not to trigger another.
    """
    at = unix(job.start_time)
    if at is None or skew is None or job.start_time is None:
        return False
    earliest = -CLOCK_SECONDS - (60.0 if at % 60 == 0 else 0.0)
    zoned = _ZONE.search(job.start_time.raw.strip()) is not None or unix_of_mail(job.start_time) is not None
    steps = (0,) if zoned else range(-ZONES, ZONES + 1)
    later = at - (since + skew)
    return any(earliest <= later + step * ZONE_STEP <= SOON_SECONDS for step in steps)


def unix(text: ExternalText | None) -> float | None:
    """Parses a time of the API to Unix seconds, in UTC where it names no zone; None for an invalid time.

    Accepts ISO 8601, also with a space before its zone, and the form of mail and HTTP (RFC 5322).
    """
    if text is None:
        return None
    written = _ZONE.sub(lambda zone: zone[1] or "+00:00", text.raw.strip())
    try:
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return unix_of_mail(text)


def unix_of_mail(text: ExternalText) -> float | None:
    """Parses a time such as `Fri, 27 Nov 2026 10:00:00 GMT`; None for another form."""
    return http_date(text) if re.match(r"[A-Za-z]{3}, \d", text.raw.strip()) else None


def _precision(text: ExternalText | None) -> float:
    """Returns how many seconds a time without seconds, or without an hour, leaves open."""
    written = "" if text is None else text.raw
    if _TO_SECONDS.search(written) or not written[:4].isdigit():
        return 0.0
    return 60.0 if _TO_MINUTES.search(written) else 86_400.0
