"""Updates the state with what an event reports, independent of the phase. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from runner.errors import ContractError, Unreachable
from runner.external import show
from runner.jobs.states import (
    AlreadyRuns,
    Begun,
    Broken,
    CancelAnswered,
    CancelRefused,
    Event,
    Found,
    Intended,
    Lost,
    Misfit,
    Missing,
    Phase,
    Recalled,
    Rejected,
    Replaced,
    Seen,
    State,
    Stopped,
    Unclear,
    Watched,
)
from runner.models import JobStatus, SyncJob

FOLLOWED = (Phase.RESUME, Phase.POLL, Phase.LOOK, Phase.CONFIRM)  # these poll the sync's own job


def learned(event: Event, state: State) -> State:
    """Returns the state updated from the event."""
    learn = _LEARN.get(type(event))
    return state if learn is None else learn(event, state)


def _recalled(event: Recalled, state: State) -> State:
    """An entry of the ledger, or none."""
    ours = not (event.held or event.external)
    lost = int(
        event.key is not None and event.job is None
    )  # an intent without a job: its trigger may have been accepted
    known = replace(state, key=event.key, earlier=True, same_run=event.same_run, job=event.job, ours=ours)
    known = replace(known, external=event.external, retyped=event.retyped, lost=lost, refused=0, searched=0)
    return replace(known, good_at=event.at, since=event.at - event.age)


def _intended(event: Intended, state: State) -> State:
    known = replace(state, key=event.key, earlier=False, same_run=False, job=None, ours=False, external=False)
    known = replace(known, retyped=False, lost=0, refused=0, searched=0, linger=0, before=None)
    return replace(known, good_at=event.at, since=event.at)


def _begun(event: Begun, state: State) -> State:
    known = replace(state, since=event.at, good_at=event.at, in_flight=False)
    return _with_end(event.job, known)


def _already_runs(event: AlreadyRuns, state: State) -> State:
    known = replace(state, refused=state.refused + 1, named=event.job_id, problem=event.error)
    return replace(known, good_at=event.at, in_flight=False)


def _lost(event: Lost, state: State) -> State:
    known = replace(state, lost=state.lost + 1, problem=event.error, searched=0)
    return replace(known, good_at=event.at, in_flight=False)


def _rejected(event: Rejected, state: State) -> State:
    return replace(state, problem=event.error, good_at=event.at, in_flight=False)


def _seen(event: Seen, state: State) -> State:
    known = replace(state, good_at=event.at, failures=0, misfits=0, missing_since=None)
    if event.job is not None and event.job.job_id in state.ended:
        return _with_end(event.job, known)
    if state.phase is Phase.AWAIT_IDLE:
        busy = event.job is not None and not event.job.status.terminal
        return replace(known, before=event.job, linger=2 if busy else max(0, state.linger - 1))
    if state.phase in (Phase.SEARCH, Phase.MATCH):
        return replace(known, searched=state.searched + 1)
    return _followed(event, known) if state.phase in FOLLOWED else known


def _followed(event: Seen, state: State) -> State:
    """The current state of the sync's own job; another job may have replaced that of an earlier run."""
    if state.phase is Phase.RESUME and not event.of_trigger:
        return state
    leased = state.ours if event.leased is None else event.leased
    return replace(state, job=event.job or state.job, ours=leased and not state.external)


def _found(event: Found, state: State) -> State:
    return replace(state, searched=state.searched + 1, good_at=event.at, failures=0, misfits=0)


def _missing(event: Missing, state: State) -> State:
    since = event.at if state.missing_since is None else state.missing_since
    return replace(state, missing_since=since, problem=event.error, good_at=event.at, failures=0, misfits=0)


def _unclear(event: Unclear, state: State) -> State:
    return replace(state, failures=state.failures + 1, misfits=0, missing_since=None, problem=event.error)


def _misfit(event: Misfit | Replaced, state: State) -> State:
    misfits = state.misfits + 1
    return replace(state, failures=state.failures + 1, misfits=misfits, missing_since=None, problem=event.error)


def _broken(event: Broken, state: State) -> State:
    return replace(state, problem=event.error)


def _stopped(event: Stopped, state: State) -> State:
    return replace(state, stopped=event.why, in_flight=event.in_flight, lost=state.lost + event.lost)


def _cancel_answered(event: CancelAnswered, state: State) -> State:
    """A `success` in the response may be the cancel's: that the job ended in another way is for a poll to show."""
    believed = event.job is not None and event.job.status not in (JobStatus.COMPLETED, JobStatus.FAILED)
    return replace(state, asked_to_cancel=True, job=event.job if believed else state.job)


def _cancel_refused(event: CancelRefused, state: State) -> State:
    """It may have been accepted, unless the API refused it."""
    lost = event.error.sent or isinstance(event.error, Unreachable)
    return replace(state, cancel_error=event.error, asked_to_cancel=lost)


def _watched(_event: Watched, state: State) -> State:
    return replace(state, watched=True)


_LEARN: Mapping[type[Event], Callable[[Any, State], State]] = {
    Recalled: _recalled, Intended: _intended, Begun: _begun, AlreadyRuns: _already_runs, Lost: _lost,
    Rejected: _rejected, Seen: _seen, Found: _found, Missing: _missing, Unclear: _unclear, Misfit: _misfit,
    Replaced: _misfit, Broken: _broken, Stopped: _stopped, CancelAnswered: _cancel_answered,
    CancelRefused: _cancel_refused, Watched: _watched,
}  # fmt: skip


def _with_end(job: SyncJob, state: State) -> State:
    """Returns the state; with a problem where the job had already ended, since an end is final."""
    before = state.ended.get(job.job_id)
    if before is None:
        return state
    name = show(job.job_id, 80)
    message = f"job {name} went from {before} to {job.status}, which is impossible; ignored"
    if before is job.status:
        message = f"trigger: the API returned job {name} as new, but it had already ended"
    return replace(state, problem=ContractError(message))
