"""The machine that runs one sync: no sequence of events starts a second job, loses one, or cancels another's."""

from collections import Counter
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runner.jobs import conditions
from runner.jobs import decide as machine
from runner.jobs.decide import Rule
from runner.jobs.states import Phase as States
from tests.campaign import jobs_machine
from tests.support.job_machine import KINDS, chain


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
