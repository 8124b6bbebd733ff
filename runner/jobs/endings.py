"""Derives a sync's outcome and its message from the machine's last state and action. Pure."""

from runner.errors import ContractError, RunnerError, UsageError
from runner.jobs.conditions import FORGET_SECONDS
from runner.jobs.outcome import of_error
from runner.jobs.states import Do, Facts, State, Why
from runner.models import JobStatus, Outcome

BY_OTHERS = "cancelled at the API, not by this run"
_STOPPED = {Why.SIGNAL: Outcome.INTERRUPTED, Why.DEADLINE: Outcome.DEADLINE}


def ending(state: State, do: Do, facts: Facts, deadline: str) -> tuple[Outcome, str | None]:
    """Returns the outcome and the error or note. `deadline` names the deadline that applied."""
    if do is Do.END_DONE:
        return Outcome.COMPLETED, None
    prefix = {Why.SIGNAL: "interrupted", Why.DEADLINE: f"{deadline} passed", None: ""}[state.stopped]
    if do is Do.END_AS_JOB:
        return _as_job(state, prefix)
    if do is Do.END_STOPPED and state.stopped is not None:
        outcome = Outcome.UNKNOWN if state.doubtful and state.stopped is Why.DEADLINE else _STOPPED[state.stopped]
        left = _left(state, facts)
        return outcome, _joined(prefix, left) if left else f"{prefix} before a job was known"
    problem = state.problem or UsageError("the reason is unknown")
    if do is Do.END_UNKNOWN:
        misfit = isinstance(problem, ContractError) and problem.sent  # the trigger's response arrived but is unreadable
        return Outcome.CONTRACT if misfit else Outcome.UNKNOWN, _joined(str(problem), _where_to_look(state, facts))
    outcome = of_error(problem)
    return outcome, _joined(str(problem), _goes_on(state) if outcome is not Outcome.CONTRACT else "")


def hopeless(state: State, do: Do) -> bool:
    """Whether the cause that ended this sync ends every other sync of the account too: no session, or no API."""
    from runner.errors import AuthenticationError, PermissionMissing, Unreachable

    if do is not Do.END_ERROR or isinstance(state.problem, PermissionMissing):
        return False
    return isinstance(state.problem, AuthenticationError | Unreachable)


def _as_job(state: State, prefix: str) -> tuple[Outcome, str | None]:
    job = state.job
    assert job is not None
    if job.status is JobStatus.CANCELLED and state.asked_to_cancel and state.stopped is not None:
        return _STOPPED[state.stopped], f"{prefix}; job {job.shown_id} was cancelled"
    ended = Outcome(job.status.value)
    if ended is Outcome.CANCELLED:
        return ended, _joined(prefix, BY_OTHERS, job.shown_error or "")
    if state.stopped is None:
        return ended, job.shown_error
    return ended, f"{prefix}; job {job.shown_id} had already ended"


def _left(state: State, facts: Facts) -> str:
    """Returns the message about a job that this run leaves behind."""
    job = state.job
    if state.doubtful:
        return unknown(facts.sync_type)
    if job is None:
        return ""
    if not state.ours:
        return f"job {job.shown_id} continues at the API: this run did not start it"
    if state.watched:
        return f"job {job.shown_id} continues at the API: another run polls it"
    detached = state.stopped is Why.SIGNAL and not facts.cancel_on_interrupt
    if not facts.cancels and not detached:
        return f"job {job.shown_id} could not be cancelled (cancel: this profile has no cancel request)"
    if state.cancel_error is not None:
        return f"job {job.shown_id} could not be cancelled ({state.cancel_error})"
    if state.asked_to_cancel:
        return f"job {job.shown_id} received a cancel request and has not ended yet"
    if detached:
        return f"job {job.shown_id} continues at the API, and the next run adopts it"
    return f"job {job.shown_id} could not be cancelled, because its state could not be read; the next run adopts it"


def _where_to_look(state: State, facts: Facts) -> str:
    if state.job is not None:
        return (
            f"the outcome of job {state.job.shown_id} is unknown: look for it at the API before you run the sync again; "
            "nothing was triggered"
        )
    if state.earlier:
        return (
            f"an earlier run ended while it triggered, and the result is unknown: look at the API for a job of "
            f"type {facts.sync_type}; nothing was triggered, and nothing will be for {FORGET_SECONDS / 3600:.0f} h after that try"
        )
    return unknown(facts.sync_type)


def _goes_on(state: State) -> str:
    job = state.job
    return "" if job is None or job.status.terminal else f"job {job.shown_id} may continue at the API"


def unknown(sync_type: str) -> str:
    """Returns the message about a trigger in doubt."""
    return (
        f"it is unknown whether the sync was started: look at the API for a job of type {sync_type} "
        "before you run it again"
    )


def _joined(*parts: str | RunnerError) -> str:
    return "; ".join(str(part) for part in parts if part)
