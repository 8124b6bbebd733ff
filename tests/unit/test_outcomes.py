"""The table of outcomes is whole, and the log's levels follow it."""

from runner.errors import ExitCode
from runner.events.events import NAMED, RunEnded, SyncEnded
from runner.models import Outcome, SyncResult
from runner.outcomes import MEANINGS


def ended(outcome: Outcome, name: str = "health", account: str = "a") -> SyncResult:
    return SyncResult(account, name, "health", outcome)


def test_every_outcome_has_a_code_a_severity_and_where_it_did_not_complete_a_remedy() -> None:
    assert MEANINGS.keys() == set(Outcome)
    assert {one for one, meaning in MEANINGS.items() if not meaning.remedy} == {Outcome.COMPLETED}
    assert {code for code in ExitCode if not code.remedy} == {ExitCode.COMPLETED}


def test_a_sync_that_did_not_complete_is_logged_as_an_error_with_its_remedy() -> None:
    levels = {outcome: SyncEnded.of(ended(outcome)).severity for outcome in Outcome}
    assert levels.pop(Outcome.COMPLETED) == "info"
    assert levels.pop(Outcome.SKIPPED) == "warning"
    assert {*levels.values()} == {"error"}
    assert all(bool(SyncEnded.of(ended(one)).remedy) is (one is not Outcome.COMPLETED) for one in Outcome)


def test_the_runs_last_line_names_what_failed() -> None:
    results = [ended(Outcome.COMPLETED, "one"), ended(Outcome.FAILED, "two"), ended(Outcome.SKIPPED, "three")]
    last = RunEnded.of(ExitCode.PARTIAL, 1.0, results)
    assert (last.severity, last.completed, last.failed, last.failed_syncs) == ("error", 1, 2, ("two", "three"))
    assert last.remedy == ExitCode.PARTIAL.remedy
    many = RunEnded.of(ExitCode.FAILED, 1.0, [ended(Outcome.FAILED, "x", str(n)) for n in range(NAMED + 10)])
    assert (many.failed, len(many.failed_syncs or ()), (many.failed_syncs or ())[0]) == (NAMED + 10, NAMED, "0/x")


def test_a_good_runs_last_line_is_no_error_and_says_nothing_more() -> None:
    last = RunEnded.of(ExitCode.COMPLETED, 1.0, [ended(Outcome.COMPLETED)])
    assert (last.severity, last.failed_syncs, last.remedy) == ("info", None, None)
