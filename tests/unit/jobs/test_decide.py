"""The machine that runs one sync: no sequence of events starts a second job, loses one, or cancels another's."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runner.errors import Unreachable
from runner.external import ExternalText
from runner.jobs import conditions
from runner.jobs import decide as machine
from runner.jobs import states as s
from runner.jobs.decide import Rule
from runner.jobs.endings import ending
from runner.jobs.states import Phase as States
from runner.models import JobStatus, SyncJob
from tests.campaign import jobs_machine
from tests.support.job_machine import KINDS, chain
from tools import machine_tables


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(KINDS)))
def test_no_sequence_of_events_starts_a_second_job_or_loses_one(rng: Random, kind: str) -> None:
    chain(rng, kind, Counter())


def test_some_thousand_steps_meet_every_event_and_every_end() -> None:
    came = jobs_machine.steps(8_000)
    assert came["steps"] >= 8_000
    wanted = {"Begun", "Lost", "AlreadyRuns", "Rejected", "Missing", "Unclear", "Misfit", "Stopped", "CancelAnswered"}
    ends = {"END_AS_JOB", "END_DONE", "END_ERROR", "END_UNKNOWN", "END_STOPPED"}
    assert wanted | ends <= came.keys()


def _never(*_anything: Any) -> bool:
    return False


def _always(*_anything: Any) -> bool:
    return True


BROKEN = {
    "a lost trigger of a blind API is sent again": ("repeatable", _always),
    "another's job is cancelled": ("may_cancel", _always),
    "what cannot be read is gone": ("perhaps_late", _never),
    "a job is ours by its name alone": ("ours_by_identity", _always),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_model_notices_a_broken_rule(what: str) -> None:
    name, broken = BROKEN[what]
    with mock.patch.object(conditions, name, broken), pytest.raises(AssertionError):
        jobs_machine.steps(60_000)


def test_the_tables_of_the_machine_are_those_of_the_page() -> None:
    assert machine_tables.PAGE.read_text(encoding="utf-8") == machine_tables.page(), "run `make docs`"


FACTS = s.Facts("x", key_seconds=60.0, lists=True, cancels=True, job_attempts=2)
RUNNING = SyncJob(ExternalText("j"), JobStatus.RUNNING, "x")
FAILED, DONE = replace(RUNNING, status=JobStatus.FAILED), replace(RUNNING, status=JobStatus.COMPLETED)


def decided(state: s.State, event: s.Event, single: bool = False) -> tuple[s.State, s.Action]:
    return machine.decide(state, event, FACTS, machine.single() if single else machine.with_ids())


def test_the_job_of_a_trigger_is_ours_and_polled_at_its_pace() -> None:
    state, action = decided(s.State(States.TRIGGER, key="k", external=True), s.Begun(5.0, RUNNING))
    assert (state.phase, state.job, state.ours, state.external, state.adopted) == (
        States.POLL,
        RUNNING,
        True,
        False,
        False,
    )
    assert action == s.Action((s.Do.KEEP_OURS, s.Do.POLL), None)


def test_a_job_that_has_ended_when_it_is_first_seen_ends_the_sync() -> None:
    state, action = decided(s.State(States.TRIGGER, key="k"), s.Begun(5.0, DONE))
    assert (state.phase, state.job, action) == (States.END, DONE, s.Action((s.Do.KEEP_OURS, s.Do.END_AS_JOB), 0.0))


def test_a_failed_job_is_triggered_again_while_attempts_are_left() -> None:
    state, action = decided(s.State(States.POLL, key="k", job=RUNNING, ours=True, adopted=True), s.Seen(5.0, FAILED))
    assert (state.attempt, state.ended, state.adopted) == (2, {FAILED.job_id: JobStatus.FAILED}, False)
    assert (state.phase, action.do) == (States.RECALL, (s.Do.CLOSE, s.Do.RETRY, s.Do.RECALL))
    state, action = decided(replace(state, phase=States.POLL, job=RUNNING), s.Seen(6.0, FAILED))
    assert (state.attempt, state.phase, action.do) == (2, States.END, (s.Do.END_ERROR,))


def test_a_job_that_is_found_again_is_adopted() -> None:
    resumed, _ = decided(s.State(States.RESUME, key="k", job=RUNNING, ours=True), s.Seen(5.0, RUNNING, of_trigger=True))
    assert (resumed.phase, resumed.adopted, resumed.ours) == (States.POLL, True, True)
    traced, _ = decided(s.State(States.TRACE, key="k", lost=1), s.Found(5.0, ours=RUNNING))
    assert (traced.phase, traced.job, traced.adopted, traced.ours) == (States.POLL, RUNNING, True, True)


def test_the_job_of_another_is_polled_and_never_ours() -> None:
    state, action = decided(s.State(States.MATCH, key="k"), s.Found(5.0, running=RUNNING))
    assert (state.phase, state.job, state.ours, state.external, state.adopted) == (
        States.POLL,
        RUNNING,
        False,
        True,
        True,
    )
    assert action == s.Action((s.Do.KEEP_THEIRS, s.Do.POLL), None)


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_a_stopped_run_finds_ended_needs_no_poll(status: JobStatus) -> None:
    """No time may be left for one, and the ledger would have it as not completed."""
    job = replace(RUNNING, status=status)
    stopped = s.State(States.SETTLE, key="k", lost=1, stopped=s.Why.DEADLINE)
    for event in (s.Begun(5.0, job), s.Found(5.0, ours=job)):
        for state in (stopped, replace(stopped, earlier=True, same_run=True)):
            ended, action = decided(state, event)
            assert (ended.phase, ended.job, action.do) == (States.END, job, (s.Do.KEEP_OURS, s.Do.END_AS_JOB))
            assert ending(ended, action.do[-1], KINDS["keyed"], "the deadline")[0].value == status.value
    _, action = decided(replace(stopped, earlier=True), s.Found(5.0, ours=job))
    assert action.do == (s.Do.KEEP_OURS, s.Do.CLOSE, s.Do.END_STOPPED)  # an earlier run's end is not this one's


def test_a_trigger_that_anothers_job_refused_is_not_a_lost_one() -> None:
    state, action = decided(
        s.State(States.MATCH, key="k", lost=1), s.Seen(5.0, replace(RUNNING, sync_type="y")), single=True
    )
    assert (state.phase, state.lost, action.do) == (States.AWAIT_IDLE, 0, (s.Do.POLL,))
    assert action.after is not None
    assert action.after > 0


def test_a_pause_depends_on_the_event() -> None:
    _, action = decided(s.State(States.TRIGGER, key="k"), s.Lost(5.0, Unreachable("gone", sent=True), pause=7.0))
    assert action == s.Action((s.Do.TRIGGER,), 7.0)


def test_an_event_without_a_rule_is_a_defect() -> None:
    with pytest.raises(StopIteration):
        decided(s.State(States.INTEND), s.TimeUp(5.0))


def test_every_rule_has_a_way_out_and_every_phase_a_last_word() -> None:
    for rules in (machine.with_ids(), machine.single()):
        for phase in {rule.phase for rule in rules}:
            own = [rule for rule in rules if rule.phase is phase]
            assert any(rule.then is not phase for rule in own), phase
        assert not unreachable(rules)


def unreachable(rules: tuple[Rule, ...]) -> list[str]:
    """The phases that rules lead to and that have no rules."""
    known = {rule.phase for rule in rules} | {States.END}
    return sorted({rule.then for rule in rules} - known)
