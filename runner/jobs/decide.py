"""Decides the next step of one sync: from state and event to state and action. Pure: no I/O, no clock, no randomness.

Two tables of rules: `with_ids` for APIs that give each job an id, `single` for those that show only one status. The
first matching rule of the phase decides. `drive` executes the actions; docs/architecture.md shows the tables.
"""
# Decisions 0032, 0060.

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from runner.frozen import Frozen
from runner.jobs import conditions as c
from runner.jobs.learned import learned
from runner.jobs.states import (
    Action,
    AlreadyRuns,
    Begun,
    Broken,
    CancelAnswered,
    CancelRefused,
    Do,
    Event,
    Facts,
    Found,
    Intended,
    Lost,
    Misfit,
    Missing,
    Recalled,
    Rejected,
    Replaced,
    Seen,
    State,
    StillOut,
    Stopped,
    TimeUp,
    Unclear,
    job_of,
)
from runner.jobs.states import Phase as P  # noqa: N817 - every rule uses it twice


class Rule(Frozen):
    """In `phase`, on the event `on`, `when` the condition holds: `do` that, `after` a pause, and continue in phase `then`."""

    phase: P
    on: type[Event]
    do: tuple[Do, ...]
    then: P
    when: Callable[[State, Any, Facts], bool]
    after: c.Pause


def decide(state: State, event: Event, facts: Facts, rules: Sequence[Rule]) -> tuple[State, Action]:
    """Returns the next state and action. Raises StopIteration where no rule matches: a defect."""
    known = learned(event, state)
    rule = next(
        rule
        for rule in rules
        if rule.phase is state.phase and isinstance(event, rule.on) and rule.when(known, event, facts)
    )
    known = _with_job(known, event, rule)
    if rule.do[-1] is not Do.AS_POLLED:
        return replace(known, phase=rule.then), Action(rule.do, rule.after(known, event))
    then, action = decide(replace(known, phase=P.POLL), Seen(event.at, known.job), facts, rules)
    return then, Action((*rule.do[:-1], *action.do), action.after)


def _with_job(state: State, event: Event, rule: Rule) -> State:
    """Returns the state with the job that the rule takes, or without it for another attempt."""
    if Do.KEEP_OURS in rule.do or Do.KEEP_THEIRS in rule.do:
        external = Do.KEEP_THEIRS in rule.do
        adopted = not isinstance(event, Begun)
        return replace(state, job=job_of(event), external=external, ours=not external, adopted=adopted)
    if Do.RETRY in rule.do and state.job is not None:
        ended = {**state.ended, state.job.job_id: state.job.status}
        return replace(state, attempt=state.attempt + 1, ended=ended, adopted=False)
    if rule.phase is P.RESUME and rule.then is P.POLL:
        return replace(state, adopted=True)
    if rule.then is P.AWAIT_IDLE:
        return replace(state, lost=0)  # the running job is another's: our trigger was rejected
    return state


def with_ids() -> tuple[Rule, ...]:
    """Returns the rules for an API that gives each job an id."""
    return (*_stop(), *_recall(), *_resume(), *_trace(), *_trigger(), *_identify(), *_match(), *_search(), *_poll())


def single() -> tuple[Rule, ...]:
    """Returns the rules for an API that runs one job at a time and shows only its status."""
    return (*_stop(), *_single_recall(), *_single_resume(), *_await_idle(), *_single_trigger(), *_single_match(),
            *_single_search(), _rule(P.POLL, Replaced, Do.END_UNKNOWN, P.END), *_poll())  # fmt: skip


def _rule(
    phase: P, on: type[Event], do: Do | tuple[Do, ...], then: P, when: Any = c.always, after: c.Pause = c.at_once
) -> Rule:
    return Rule(phase, on, do if isinstance(do, tuple) else (do,), then, when, after)


def _reading(phase: P, do: Do) -> tuple[Rule, ...]:
    """Where a poll or listing finds the API free, the sync continues."""
    return (
        _rule(phase, Unclear, do, phase, c.patient, c.back_off),
        _rule(phase, Misfit, do, phase, c.few_misfits, c.back_off),
        _rule(phase, Event, Do.END_UNKNOWN, P.END, c.doubtful),
        _rule(phase, Event, Do.END_ERROR, P.END),
    )


def _recall() -> tuple[Rule, ...]:
    return (
        _rule(P.RECALL, Recalled, Do.END_DONE, P.END, c.done),
        _rule(P.RECALL, Recalled, Do.POLL, P.RESUME, c.job_known),
        _rule(P.RECALL, Recalled, Do.END_UNKNOWN, P.END, c.retyped_intent_and_young),
        _rule(P.RECALL, Recalled, (Do.CLOSE, Do.INTEND), P.INTEND, c.retyped_intent),
        _rule(P.RECALL, Recalled, Do.TRIGGER, P.TRIGGER, c.key_still_known),
        _rule(P.RECALL, Recalled, Do.LIST, P.TRACE, c.intent_alone_and_listing),
        _rule(P.RECALL, Recalled, Do.END_UNKNOWN, P.END, c.intent_alone_and_young),
        _rule(P.RECALL, Recalled, (Do.CLOSE, Do.INTEND), P.INTEND, c.intent_alone),
        _rule(P.RECALL, Recalled, Do.INTEND, P.INTEND),
        _rule(P.RECALL, Broken, Do.END_ERROR, P.END),
        _rule(P.INTEND, Intended, Do.TRIGGER, P.TRIGGER),
        _rule(P.INTEND, Broken, Do.END_ERROR, P.END),
    )


def _resume() -> tuple[Rule, ...]:
    return (
        _rule(P.RESUME, Seen, (Do.CLOSE, Do.END_AS_JOB), P.END, c.completed_in_this_run),
        _rule(P.RESUME, Seen, (Do.CLOSE, Do.RECALL), P.RECALL, c.ended),
        _rule(P.RESUME, Seen, Do.POLL, P.RESUME, c.retyped_and_runs, c.busy),
        _rule(P.RESUME, Seen, (Do.KEEP, Do.POLL), P.POLL, after=c.by_pace),
        _rule(P.RESUME, Missing, Do.POLL, P.RESUME, c.perhaps_late, c.again),
        _rule(P.RESUME, Missing, (Do.CLOSE, Do.RECALL), P.RECALL),
        _rule(P.RESUME, Replaced, (Do.CLOSE, Do.END_UNKNOWN), P.END),
        _rule(P.RESUME, Unclear, Do.POLL, P.RESUME, c.patient, c.back_off),
        _rule(P.RESUME, Unclear, Do.END_UNKNOWN, P.END, c.reached),
        *_reading(P.RESUME, Do.POLL),
    )


def _trace() -> tuple[Rule, ...]:
    return (
        _rule(P.TRACE, Found, (Do.KEEP_OURS, Do.CLOSE, Do.END_AS_JOB), P.END, c.ours_completed_in_this_run),
        _rule(P.TRACE, Found, (Do.KEEP_OURS, Do.CLOSE, Do.RECALL), P.RECALL, c.ours_ended),
        _rule(P.TRACE, Found, (Do.KEEP_OURS, Do.POLL), P.POLL, c.is_ours, c.by_pace),
        _rule(P.TRACE, Found, Do.LIST, P.TRACE, c.young_or_not_told_apart, c.late),
        _rule(P.TRACE, Found, Do.END_UNKNOWN, P.END, c.cannot_be_told_apart_and_young_or_runs),
        _rule(P.TRACE, Found, (Do.CLOSE, Do.RECALL), P.RECALL),
        _rule(P.TRACE, Unclear, Do.LIST, P.TRACE, c.patient, c.back_off),
        _rule(P.TRACE, Unclear, Do.END_UNKNOWN, P.END, c.reached),
        *_reading(P.TRACE, Do.LIST),
    )


def _trigger() -> tuple[Rule, ...]:
    return (
        _rule(P.TRIGGER, Begun, Do.END_ERROR, P.END, c.ended_before),
        _rule(P.TRIGGER, Begun, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL),
        _rule(P.TRIGGER, AlreadyRuns, Do.POLL, P.IDENTIFY, c.the_name_is_ours),
        _rule(P.TRIGGER, AlreadyRuns, Do.POLL, P.IDENTIFY, c.names_a_job),
        _rule(P.TRIGGER, AlreadyRuns, Do.LIST, P.MATCH, c.listing),
        _rule(P.TRIGGER, AlreadyRuns, Do.END_UNKNOWN, P.END, c.lost_before),
        _rule(P.TRIGGER, AlreadyRuns, Do.TRIGGER, P.TRIGGER, c.refused_few_times, c.unseen),
        _rule(P.TRIGGER, AlreadyRuns, Do.END_ERROR, P.END),
        _rule(P.TRIGGER, Lost, Do.TRIGGER, P.TRIGGER, c.repeatable, c.repeat),
        _rule(P.TRIGGER, Rejected, Do.END_ERROR, P.END, c.resumed_and_never_left),
        _rule(P.TRIGGER, Event, Do.LIST, P.SEARCH, c.lost_and_listing),
        _rule(P.TRIGGER, Event, Do.END_UNKNOWN, P.END, c.lost_before),
        _rule(P.TRIGGER, Event, Do.END_ERROR, P.END),
    )


def _identify() -> tuple[Rule, ...]:
    """The job that a conflict names: ours after a lost response, or another's. One that ended or is gone blocks nothing."""
    return (
        _rule(P.IDENTIFY, Seen, Do.END_ERROR, P.END, c.ended_before_and_runs),
        _rule(P.IDENTIFY, Seen, Do.POLL, P.IDENTIFY, c.foreign_and_runs, c.busy),
        _rule(P.IDENTIFY, Seen, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.ours_by_identity),
        _rule(P.IDENTIFY, Seen, (Do.KEEP_THEIRS, Do.AS_POLLED), P.POLL, c.runs),
        _rule(P.IDENTIFY, Missing, Do.POLL, P.IDENTIFY, c.perhaps_late, c.again),
        *(rule for on in (Seen, Missing) for rule in (
            _rule(P.IDENTIFY, on, Do.TRIGGER, P.TRIGGER, c.keyed_and_refused_few_times, c.unseen),
            _rule(P.IDENTIFY, on, Do.LIST, P.SEARCH, c.lost_and_listing),
            _rule(P.IDENTIFY, on, Do.END_UNKNOWN, P.END, c.lost_before),
            _rule(P.IDENTIFY, on, Do.TRIGGER, P.TRIGGER, c.refused_few_times, c.unseen),
        )), *_reading(P.IDENTIFY, Do.POLL),
    )  # fmt: skip


def _match() -> tuple[Rule, ...]:
    """The job of a conflict that names none."""
    return (
        _rule(P.MATCH, Found, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.ours_after_a_loss),
        _rule(P.MATCH, Found, (Do.KEEP_THEIRS, Do.AS_POLLED), P.POLL, c.one_runs),
        _rule(P.MATCH, Found, Do.TRIGGER, P.TRIGGER, c.keyed_and_refused_few_times, c.unseen),
        _rule(P.MATCH, Found, Do.LIST, P.SEARCH, c.lost_and_listing, c.late),
        _rule(P.MATCH, Found, Do.TRIGGER, P.TRIGGER, c.refused_few_times, c.unseen),
        *_reading(P.MATCH, Do.LIST),
    )


def _search() -> tuple[Rule, ...]:
    return (
        _rule(P.SEARCH, Found, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.is_ours),
        _rule(P.SEARCH, Found, Do.LIST, P.SEARCH, c.looks_left, c.late),
        *_reading(P.SEARCH, Do.LIST),
    )


def _poll() -> tuple[Rule, ...]:
    return (
        _rule(P.POLL, Seen, Do.END_ERROR, P.END, c.ended_before),
        _rule(P.POLL, Seen, (Do.CLOSE, Do.RETRY, Do.RECALL), P.RECALL, c.failed_with_attempts_left),
        _rule(P.POLL, Seen, Do.END_AS_JOB, P.END, c.ended),
        _rule(P.POLL, Seen, Do.POLL, P.POLL, after=c.by_pace),
        _rule(P.POLL, Missing, Do.POLL, P.POLL, c.perhaps_late, c.again),
        _rule(P.POLL, Missing, (Do.CLOSE, Do.END_ERROR), P.END),
        _rule(P.POLL, Replaced, Do.POLL, P.POLL, c.few_misfits, c.back_off),
        _rule(P.POLL, Replaced, (Do.CLOSE, Do.END_UNKNOWN), P.END),
        *_reading(P.POLL, Do.POLL),
    )


def _single_recall() -> tuple[Rule, ...]:
    return (
        _rule(P.RECALL, Recalled, Do.END_DONE, P.END, c.done),
        _rule(P.RECALL, Recalled, Do.POLL, P.RESUME, c.intent_alone),
        _rule(P.RECALL, Recalled, Do.INTEND, P.INTEND),
        _rule(P.RECALL, Broken, Do.END_ERROR, P.END),
        _rule(P.INTEND, Intended, Do.POLL, P.AWAIT_IDLE),
        _rule(P.INTEND, Broken, Do.END_ERROR, P.END),
    )


def _single_resume() -> tuple[Rule, ...]:
    return (
        _rule(P.RESUME, Seen, (Do.CLOSE, Do.RECALL), P.RECALL, c.another_jobs),
        _rule(P.RESUME, Seen, (Do.CLOSE, Do.END_AS_JOB), P.END, c.completed_in_this_run),
        _rule(P.RESUME, Seen, (Do.CLOSE, Do.RECALL), P.RECALL, c.ended),
        _rule(P.RESUME, Seen, (Do.KEEP, Do.POLL), P.POLL, after=c.by_pace),
        _rule(P.RESUME, Unclear, Do.POLL, P.RESUME, c.patient, c.back_off),
        _rule(P.RESUME, Unclear, Do.END_UNKNOWN, P.END, c.reached),
        *_reading(P.RESUME, Do.POLL),
    )


def _await_idle() -> tuple[Rule, ...]:
    """A foreign job that was waited for stays visible after its end for a while: its watcher needs to see it."""
    return (
        _rule(P.AWAIT_IDLE, Seen, (Do.KEEP_THEIRS, Do.AS_POLLED), P.POLL, c.of_our_type),
        _rule(P.AWAIT_IDLE, Seen, Do.POLL, P.AWAIT_IDLE, c.just_busy, c.busy),
        _rule(P.AWAIT_IDLE, Seen, Do.TRIGGER, P.TRIGGER),
        *_reading(P.AWAIT_IDLE, Do.POLL),
    )


def _single_trigger() -> tuple[Rule, ...]:
    return (
        _rule(P.TRIGGER, Begun, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL),
        _rule(P.TRIGGER, AlreadyRuns, Do.POLL, P.MATCH),
        _rule(P.TRIGGER, Lost, Do.POLL, P.SEARCH, after=c.repeat),
        _rule(P.TRIGGER, Rejected, Do.POLL, P.SEARCH, c.lost_before),
        _rule(P.TRIGGER, Event, Do.END_UNKNOWN, P.END, c.lost_before),
        _rule(P.TRIGGER, Event, Do.END_ERROR, P.END),
    )


def _single_match() -> tuple[Rule, ...]:
    return (
        _rule(P.MATCH, Seen, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.may_be_ours_after_a_loss),
        _rule(P.MATCH, Seen, (Do.KEEP_THEIRS, Do.AS_POLLED), P.POLL, c.may_be_ours),
        _rule(P.MATCH, Seen, Do.POLL, P.AWAIT_IDLE, c.runs, c.busy),
        _rule(P.MATCH, Seen, Do.POLL, P.SEARCH, c.lost_before, c.late),
        _rule(P.MATCH, Seen, Do.POLL, P.AWAIT_IDLE, c.refused_few_times, c.unseen),
        *_reading(P.MATCH, Do.POLL),
    )


def _single_search() -> tuple[Rule, ...]:
    return (
        _rule(P.SEARCH, Seen, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.may_be_ours),
        _rule(P.SEARCH, Seen, (Do.KEEP_OURS, Do.AS_POLLED), P.POLL, c.ended_since_the_trigger),
        _rule(P.SEARCH, Seen, Do.TRIGGER, P.TRIGGER, c.nothing_shows_now_or_before, c.repeat),
        _rule(P.SEARCH, Seen, Do.POLL, P.SEARCH, c.looks_left, c.late),
        *_reading(P.SEARCH, Do.POLL),
    )


BEFORE_STOP = (P.RECALL, P.RESUME, P.TRACE, P.INTEND, P.AWAIT_IDLE, P.TRIGGER, P.IDENTIFY, P.MATCH, P.SEARCH, P.POLL)


def _stop() -> tuple[Rule, ...]:
    """After a signal or at the deadline: determine the trigger's result, poll the job, cancel it, confirm."""
    stopped = [
        rule
        for phase in BEFORE_STOP
        for rule in (
            _rule(phase, Stopped, Do.AWAIT, P.SETTLE, c.in_flight),
            _rule(phase, Stopped, Do.LIST, P.SETTLE, c.doubtful_and_listing),
            _rule(phase, Stopped, Do.POLL, P.LOOK, c.running_and_may_cancel),
            _rule(phase, Stopped, Do.END_STOPPED, P.END),
        )
    ]
    return (*stopped, *_settle(), *_look(), *_cancel())


def _settle() -> tuple[Rule, ...]:
    return (
        _rule(P.SETTLE, TimeUp, Do.END_STOPPED, P.END),
        _rule(P.SETTLE, Begun, (Do.KEEP_OURS, Do.END_AS_JOB), P.END, c.ended),
        _rule(P.SETTLE, Begun, (Do.KEEP_OURS, Do.POLL), P.LOOK, c.may_cancel),
        _rule(P.SETTLE, Begun, (Do.KEEP_OURS, Do.END_STOPPED), P.END),
        _rule(P.SETTLE, Found, (Do.KEEP_OURS, Do.CLOSE, Do.END_STOPPED), P.END, c.an_earlier_runs_ended),
        _rule(P.SETTLE, Found, (Do.KEEP_OURS, Do.END_AS_JOB), P.END, c.ours_ended),
        _rule(P.SETTLE, Found, (Do.KEEP_OURS, Do.POLL), P.LOOK, c.ours_and_may_cancel),
        _rule(P.SETTLE, Found, (Do.KEEP_OURS, Do.END_STOPPED), P.END, c.is_ours),
        _rule(P.SETTLE, StillOut, Do.LIST, P.SETTLE, c.listing),
        _rule(P.SETTLE, Event, Do.AWAIT, P.SETTLE, c.in_flight),
        _rule(P.SETTLE, Event, Do.LIST, P.SETTLE, c.doubtful_and_listing, c.step),
        _rule(P.SETTLE, Event, Do.END_STOPPED, P.END),
    )


def _look() -> tuple[Rule, ...]:
    return (
        _rule(P.LOOK, Seen, Do.END_AS_JOB, P.END, c.ended),
        _rule(P.LOOK, Seen, Do.CANCEL, P.CANCEL, c.may_cancel),
        _rule(P.LOOK, Unclear, Do.POLL, P.LOOK, after=c.step),
        _rule(P.LOOK, Misfit, Do.POLL, P.LOOK, c.few_misfits, c.step),
        _rule(P.LOOK, Event, Do.END_STOPPED, P.END),
    )


def _cancel() -> tuple[Rule, ...]:
    return (
        _rule(P.CANCEL, CancelAnswered, Do.END_AS_JOB, P.END, c.has_ended),
        _rule(P.CANCEL, CancelAnswered, Do.POLL, P.CONFIRM, after=c.step),
        _rule(P.CANCEL, CancelRefused, Do.POLL, P.CONFIRM),
        _rule(P.CANCEL, Event, Do.END_STOPPED, P.END),
        _rule(P.CONFIRM, Seen, Do.END_AS_JOB, P.END, c.ended),
        _rule(P.CONFIRM, Seen, Do.POLL, P.CONFIRM, c.asked, c.step),
        _rule(P.CONFIRM, Unclear, Do.POLL, P.CONFIRM, after=c.step),
        _rule(P.CONFIRM, Event, Do.END_STOPPED, P.END),
    )
