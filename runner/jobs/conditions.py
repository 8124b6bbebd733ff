"""The conditions and pauses of the state machine's rules. Pure; docs/architecture.md names the conditions."""

from collections.abc import Callable
from dataclasses import replace

from runner.errors import Unreachable
from runner.jobs.identity import SOON_SECONDS
from runner.jobs.states import (
    Event,
    Facts,
    Found,
    Lost,
    Phase,
    Recalled,
    Seen,
    State,
    Unclear,
    Why,
    job_of,
)
from runner.models import JobStatus

LOST_ANSWERS = 3  # lost responses to triggers with one key before their job is searched
FORGET_SECONDS = 3600.0  # after that, an intent without a visible job is closed
YOUNG_SECONDS = 60.0  # the job of a younger intent may be listed late
MISSING_SECONDS = 10.0  # an API may list a job late or omit it while it starts: only after this time is it gone
MISFITS = 3  # misfitting responses in a row before the profile is reported as not fitting
UNSEEN_PAUSES = (0.2, 1.0)  # before a trigger is resent that was refused because of a job that is not visible
LATE_PAUSES = (0.5, 1.0, 2.0, 4.0)  # between searches for the job of a trigger in doubt: an API may list it late
BUSY_SECONDS = 1.0  # between two polls while another job runs, and how long its end stays visible
STEP_SECONDS = 0.2  # between two polls when the sync is stopped
AGAIN_SECONDS = 1.0  # between two polls of a job that the API does not know
BACK_OFF = 0.2  # after the first failed poll; doubles with each further one
MAX_BACK_OFF = 10.0


def always(_state: State, _event: Event, _facts: Facts) -> bool:
    return True


def done(_state: State, event: Recalled, _facts: Facts) -> bool:
    return event.done


def job_known(_state: State, event: Recalled, _facts: Facts) -> bool:
    return event.job is not None


def retyped_intent_and_young(state: State, event: Recalled, facts: Facts) -> bool:
    """Its job has another type than the sync has now: neither the key nor the listing of this type finds it."""
    return event.retyped and event.job is None and intent_alone_and_young(state, event, facts)


def retyped_intent(_state: State, event: Recalled, _facts: Facts) -> bool:
    return event.retyped and event.key is not None and event.job is None


def retyped_and_runs(state: State, event: Event, facts: Facts) -> bool:
    return state.retyped and runs(state, event, facts)


def intent_alone(_state: State, event: Recalled, _facts: Facts) -> bool:
    return event.key is not None


def key_still_known(_state: State, event: Recalled, facts: Facts) -> bool:
    return event.key is not None and 0 <= event.age < facts.key_seconds


def intent_alone_and_listing(_state: State, event: Recalled, facts: Facts) -> bool:
    return event.key is not None and facts.lists


def intent_alone_and_young(_state: State, event: Recalled, _facts: Facts) -> bool:
    return event.key is not None and 0 <= event.age < FORGET_SECONDS


def ended(_state: State, event: Event, _facts: Facts) -> bool:
    job = job_of(event)
    return job is not None and job.status.terminal


def runs(_state: State, event: Event, _facts: Facts) -> bool:
    job = job_of(event)
    return job is not None and not job.status.terminal


def completed_in_this_run(state: State, event: Event, _facts: Facts) -> bool:
    job = job_of(event)
    return state.same_run and job is not None and job.status is JobStatus.COMPLETED


def ended_before(state: State, event: Event, _facts: Facts) -> bool:
    job = job_of(event)
    return job is not None and job.job_id in state.ended


def failed_with_attempts_left(state: State, event: Seen, facts: Facts) -> bool:
    return event.job is not None and event.job.status is JobStatus.FAILED and state.attempt < facts.job_attempts


def is_ours(_state: State, event: Found, _facts: Facts) -> bool:
    return event.ours is not None


def ours_completed_in_this_run(state: State, event: Found, _facts: Facts) -> bool:
    return state.same_run and event.ours is not None and event.ours.status is JobStatus.COMPLETED


def ours_ended(_state: State, event: Found, _facts: Facts) -> bool:
    return event.ours is not None and event.ours.status.terminal


def an_earlier_runs_ended(state: State, event: Found, facts: Facts) -> bool:
    """It is not this run's end."""
    return state.earlier and not state.same_run and ours_ended(state, event, facts)


def ours_after_a_loss(state: State, event: Found, facts: Facts) -> bool:
    """Whether times identify the job. Where the API knows our key, a refusal means another's job: a resend with it finds ours."""
    return state.lost > 0 and event.ours is not None and not keyed(facts)


def keyed(facts: Facts) -> bool:
    """A repeat with our key returns the first response again."""
    return facts.key_seconds > 0 and not facts.names_job


def keyed_and_refused_few_times(state: State, event: Event, facts: Facts) -> bool:
    return keyed(facts) and refused_few_times(state, event, facts)


def one_runs(_state: State, event: Found, _facts: Facts) -> bool:
    return event.running is not None


def cannot_be_told_apart_and_young_or_runs(state: State, event: Found, _facts: Facts) -> bool:
    """A job may be ours; an old intent is given up when none of the listed jobs runs."""
    young = event.at - state.since < FORGET_SECONDS
    return event.doubtful and (young or event.running is not None)


def looks_left(state: State, event: Event, _facts: Facts) -> bool:
    """A job may be listed late. One that is queued is ours only if it starts soon: its start is waited for."""
    waits = isinstance(event, Found) and event.queued and event.at - state.since < SOON_SECONDS
    return waits or state.searched <= len(LATE_PAUSES)


def repeatable(state: State, _event: Event, facts: Facts) -> bool:
    """A repeat of the trigger is recognised by its key or by its job's name."""
    return facts.key_seconds > 0 and state.lost < LOST_ANSWERS


def lost_and_listing(state: State, _event: Event, facts: Facts) -> bool:
    return state.lost > 0 and facts.lists


def lost_before(state: State, _event: Event, _facts: Facts) -> bool:
    return state.lost > 0


def listing(_state: State, _event: Event, facts: Facts) -> bool:
    return facts.lists


def the_name_is_ours(state: State, _event: Event, facts: Facts) -> bool:
    """We name the job, and a trigger with that name may have been accepted."""
    return facts.names_job and (state.lost > 0 or state.earlier)


def names_a_job(state: State, _event: Event, _facts: Facts) -> bool:
    return state.named is not None


def refused_few_times(state: State, _event: Event, _facts: Facts) -> bool:
    return state.refused <= len(UNSEEN_PAUSES)


def ours_by_identity(state: State, event: Seen, facts: Facts) -> bool:
    """The job has the name that we gave it, or the times of a trigger of ours whose response was lost."""
    if event.job is None:
        return False
    by_times = state.lost > 0 and event.of_trigger and not keyed(facts)
    return by_times or the_name_is_ours(state, event, facts)


def patient(state: State, event: Event, facts: Facts) -> bool:
    """The last good response is recent enough."""
    return event.at - state.good_at < facts.patience


def few_misfits(state: State, _event: Event, _facts: Facts) -> bool:
    return state.misfits < MISFITS


def perhaps_late(state: State, event: Event, _facts: Facts) -> bool:
    """The job is young, or has not been missing for long."""
    assert state.missing_since is not None
    return event.at - state.missing_since < MISSING_SECONDS or event.at - state.since < MISSING_SECONDS


def reached(state: State, _event: Event, _facts: Facts) -> bool:
    """The API, or something in its place, responded."""
    return not isinstance(state.problem, Unreachable) or state.problem.sent


def doubtful(state: State, _event: Event, _facts: Facts) -> bool:
    return state.doubtful


def in_flight(state: State, _event: Event, _facts: Facts) -> bool:
    return state.in_flight


def may_cancel(state: State, _event: Event, facts: Facts) -> bool:
    """The job is ours, the API can cancel it, and the settings do not ask to leave it."""
    ours = state.ours or state.job is None
    return ours and facts.cancels and (state.stopped is Why.DEADLINE or facts.cancel_on_interrupt)


def running_and_may_cancel(state: State, event: Event, facts: Facts) -> bool:
    return state.phase is Phase.POLL and may_cancel(state, event, facts)


def asked(state: State, _event: Event, _facts: Facts) -> bool:
    return state.asked_to_cancel


def foreign_and_runs(state: State, event: Seen, facts: Facts) -> bool:
    """A conflict names a job of another type or user, and no trigger is in doubt: the job blocks ours until it ends."""
    return event.foreign and state.lost == 0 and not state.earlier and runs(state, event, facts)


def of_our_type(_state: State, event: Seen, facts: Facts) -> bool:
    return runs(_state, event, facts) and event.job is not None and event.job.sync_type == facts.sync_type


def may_be_ours(_state: State, event: Seen, facts: Facts) -> bool:
    """It runs, and its type is ours or not stated."""
    return runs(_state, event, facts) and event.job is not None and event.job.sync_type in (None, facts.sync_type)


def ended_since_the_trigger(state: State, event: Seen, facts: Facts) -> bool:
    """The job in the status has ended, and differs from the earlier one."""
    job = event.job
    if job is None or job.sync_type not in (None, facts.sync_type):
        return False
    return state.before is None or replace(state.before, job_id=job.job_id, poll_after=job.poll_after) != job


def nothing_shows_now_or_before(state: State, event: Seen, _facts: Facts) -> bool:
    return event.job is None and state.before is None and state.lost < LOST_ANSWERS


def another_jobs(_state: State, event: Seen, _facts: Facts) -> bool:
    """No job is shown, or one that is not the ledger's by its type or start."""
    return event.job is None or not event.of_trigger


def just_busy(state: State, _event: Event, _facts: Facts) -> bool:
    """A job runs, or ran at the previous poll."""
    return state.linger > 0


def may_be_ours_after_a_loss(state: State, event: Seen, facts: Facts) -> bool:
    return state.lost > 0 and may_be_ours(state, event, facts)


def ended_before_and_runs(state: State, event: Event, facts: Facts) -> bool:
    return ended_before(state, event, facts) and runs(state, event, facts)


def young_or_not_told_apart(state: State, event: Found, facts: Facts) -> bool:
    return looks_left(state, event, facts) and (event.doubtful or event.at - state.since < YOUNG_SECONDS)


def resumed_and_never_left(state: State, event: Event, facts: Facts) -> bool:
    return state.earlier and state.lost == 1 and not reached(state, event, facts)


def doubtful_and_listing(state: State, _event: Event, facts: Facts) -> bool:
    return state.doubtful and facts.lists


def ours_and_may_cancel(state: State, event: Found, facts: Facts) -> bool:
    return event.ours is not None and may_cancel(state, event, facts)


def has_ended(state: State, _event: Event, _facts: Facts) -> bool:
    """The job as it is currently known."""
    return state.job is not None and state.job.status.terminal


# Pauses in seconds; None: as the pace of the job requires.

Pause = Callable[[State, Event], float | None]


def at_once(_state: State, _event: Event) -> float | None:
    return 0.0


def by_pace(_state: State, _event: Event) -> float | None:
    return None


def back_off(state: State, event: Event) -> float | None:
    """Doubles, and never ends before the time that the API asks for."""
    asked_for = event.pause if isinstance(event, Unclear) else 0.0
    return max(asked_for, min(MAX_BACK_OFF, BACK_OFF * 2.0 ** min(state.failures - 1, 10)))


def repeat(state: State, event: Event) -> float | None:
    asked_for = event.pause if isinstance(event, Lost) else 0.0
    return max(asked_for, BACK_OFF * 2.0**state.lost)


def unseen(state: State, _event: Event) -> float | None:
    return UNSEEN_PAUSES[state.refused - 1]


def late(state: State, _event: Event) -> float | None:
    return LATE_PAUSES[min(state.searched, len(LATE_PAUSES)) - 1]


def busy(_state: State, _event: Event) -> float | None:
    return BUSY_SECONDS


def step(_state: State, _event: Event) -> float | None:
    return STEP_SECONDS


def again(_state: State, _event: Event) -> float | None:
    return AGAIN_SECONDS
