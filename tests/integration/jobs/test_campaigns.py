"""The campaigns of job control in small: each passes on the code as it is, and each catches a broken promise."""

import re
from contextlib import ExitStack
from typing import Any

import pytest

from runner.jobs.api import JobApi
from runner.jobs.journal import SyncJournal
from runner.jobs.pacing import Pacer
from tests.campaign import chains, crowd, deadlines, hostile, interrupts, restarts, watching
from tests.campaign.faults import OUTAGE, Case, cases, judged
from tests.campaign.figures import asked
from tests.campaign.interrupts import Shot, faults_of
from tests.support.faults.connections import NAME_KINDS
from tests.support.faults.kinds import KINDS
from tests.support.faults.table import Class
from tests.support.programs import need

pytestmark = pytest.mark.usefixtures("dispositions_kept")


def test_there_are_kinds_enough_and_each_meets_every_endpoint_one_two_and_three_times() -> None:
    every = list(cases(range(2)))
    assert len({case.kind for case in every}) >= 25
    assert len(every) >= 2500
    assert {(case.endpoint, case.times) for case in every if case.kind == "reset after"} == {
        (endpoint, times)
        for endpoint in ("login", "refresh", "trigger", "status", "list", "cancel")
        for times in (1, 2, 3)
    } | {(OUTAGE, -1)}
    before_http = {Class.UNSENT, Class.PROXY_LOGIN}  # met at the connection, not by a kind of answer
    assert {kind.of for kind in KINDS} == {*Class} - before_http


def test_faulted_runs_end_as_the_table_has_it_without_a_second_job() -> None:
    some = [
        Case(name, endpoint, times, 0)
        for name, endpoint, times in (
            ("reset after", "trigger", 1),
            ("closed after", "trigger", 3),
            ("reset before", "trigger", 3),
            ("502", "trigger", 2),
            ("NaN", "trigger", 1),
            ("409", "trigger", 1),
            ("duplicated answer", "status", 3),
            ("404", "status", 1),
            ("418", "status", 2),
            ("418", "status", 3),
            ("403", "status", 3),
            ("302", "status", 3),
            ("400", "trigger", 1),
            ("gzip bomb", "status", 1),
            ("truncated body", "list", 2),
            ("garbage", "refresh", 1),
            ("425", "login", 3),
            ("TLS: expired", "trigger", 2),
            ("TLS: garbage", "cancel", 3),
            (next(iter(NAME_KINDS)), "login", 2),
        )
    ]
    tally = judged(some)
    assert tally.wrong == []
    assert (tally.runs, tally.spoiled) == (len(some), len(some))


def test_the_fault_campaign_catches_a_second_job(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = JobApi.trigger
    keys = iter(range(100))

    async def forgetful(self: JobApi, sync: Any, _key: str, *more: Any) -> Any:
        return await sent(self, sync, f"another-{next(keys)}", *more)

    monkeypatch.setattr(JobApi, "trigger", forgetful)
    assert any("duplicate" in fault for fault in judged([Case("reset after", "trigger", 1, 0)]).wrong)


def test_the_fault_campaign_catches_a_wrong_code_and_a_forgotten_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: JobApi, *_words: Any) -> Any:
        raise KeyError("a defect")

    monkeypatch.setattr(JobApi, "poll", never)
    wrong = judged([Case("404", "status", 1, 0)]).wrong
    assert any("code 1 instead of 0" in fault for fault in wrong)


def test_an_outage_over_two_runs_and_a_refused_tunnel_end_as_the_table_has_it() -> None:
    some = [
        Case("500 page", "outage", -1, 0),
        Case("null", "outage", -1, 0),
        Case("CONNECT: 503", "trigger", 2, 0),
        Case("CONNECT: 407", "status", 1, 0),
        Case("403 page", "trigger", 1, 0),
        Case("522", "status", 3, 0),
        Case("requeue", "status", 3, 0),
        Case("odd listing", "list", 1, 0),
        Case("times as milliseconds", "list", 1, 0),
    ]
    tally = judged(some)
    assert tally.wrong == []
    assert (tally.runs, tally.spoiled) == (len(some), len(some))


def test_chains_of_tries_under_one_key_repeat_nothing_that_is_done() -> None:
    wrong, codes = chains.judged(range(1, 5))
    assert wrong == []
    assert codes.total() == 4 * chains.TRIES


def test_the_campaign_of_chains_catches_a_completed_sync_that_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgotten(*_words: Any) -> None:
        return None

    monkeypatch.setattr(SyncJournal, "completed", forgotten)
    assert any("triggered again" in fault for fault in chains.judged(range(1, 3))[0])


def test_a_watch_outlives_restarts_of_its_api() -> None:
    found = restarts.restarts(times=3, seconds=6)
    assert (found["restarts"], found["triggers"]) == (3, 1)


def _shot(**changed: Any) -> Shot:
    good: dict[str, Any] = {
        "user": "u", "after": 1.0, "seconds": 0.5, "code": 143, "report": {"exit_code": 143}, "stderr": "{}\n"
    }  # fmt: skip
    return Shot(**{**good, **changed})


@pytest.mark.parametrize(
    ("shot", "jobs", "pushed", "told"),
    [
        (_shot(), ["cancelled"], 143, None),
        (_shot(code=0, report={"exit_code": 0}), ["completed"], 0, None),
        (_shot(code=137), [], 137, "code 137"),
        (_shot(seconds=interrupts.MAX_SECONDS + 0.1), [], 143, "ended only after"),
        (_shot(report=None), [], 143, "no report"),
        (_shot(), [], None, "pushed: None"),
        (_shot(), ["running"], 143, "jobs still run"),
        (_shot(), ["cancelled", "cancelled"], 143, "too many"),
        (_shot(stderr="Traceback (most recent call last):"), [], 143, "a traceback"),
    ],
)
def test_the_campaign_of_signals_catches_each_broken_promise(
    shot: Shot, jobs: list[str], pushed: int | None, told: str | None
) -> None:
    found = list(faults_of(shot, jobs, pushed))
    assert found == [] if told is None else any(told in fault for fault in found)


def test_runs_that_are_held_up_end_by_their_deadline_with_its_code() -> None:
    need("prometheus-pushgateway")
    with interrupts.pushgateway() as gateway:
        found, wrong, _ = deadlines.overshoots(3, 3, 1.2, gateway)
    assert wrong == []
    assert len(found) == 3


def test_the_runs_deadline_bounds_its_push_too() -> None:
    need("prometheus-pushgateway")
    with ExitStack() as stack:
        sync_run = deadlines.Course(stack, stack.enter_context(interrupts.pushgateway()))
        hangs = "the job never ends, the Pushgateway hangs"
        told = {which: sync_run.run(hangs, 1.0, which) for which in ("run", "sync")}
    assert [list(deadlines.faults_of(one, hangs)) for one in told.values()] == [[], []]
    assert "response within 1.8 s" in told["sync"].log  # a sync's deadline says nothing of the run's end
    assert re.search(r"response within 0\.(1|09)", told["run"].log)


def test_a_campaign_takes_numbers_and_words() -> None:
    assert asked(["deadlines", "runs=40", "seed=2", "interrupts", "image=sync-runner:dev"]) == [
        ("deadlines", {"runs": 40, "seed": 2}),
        ("interrupts", {"image": "sync-runner:dev"}),
    ]


def test_the_campaign_of_deadlines_catches_an_overshoot_and_a_wrong_code() -> None:
    good = [(-0.1, "login stalls"), (0.2, "status drips")]
    assert deadlines.summed(good, [])["overshoot ms, max"] == 200
    with pytest.raises(AssertionError, match="status drips"):
        deadlines.summed([*good, (deadlines.OVERSHOOT + 0.01, "status drips")], [])
    with pytest.raises(AssertionError, match="code 0"):
        deadlines.summed(good, ["login stalls, 1.00 s: code 0"])


def test_a_crowd_waits_as_it_is_told_and_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "JOB_SECONDS", 0.5)
    record = crowd.gathered(4, 0.2)
    assert crowd.too_early(record["requests"]) == []
    assert any(one["status"] == 503 for one in record["requests"])


def test_the_campaign_of_the_crowd_catches_a_request_before_its_time_and_one_too_many() -> None:
    turned_away = {"x-request-id": "u", "endpoint": "trigger", "status": 503, "at": 100.0}
    taken = {"x-request-id": "u", "endpoint": "trigger", "status": 200, "at": 100.5}
    assert crowd.too_early([turned_away, {**taken, "at": 101.1}, {**taken, "x-request-id": "v"}]) == []
    assert crowd.too_early([taken, turned_away]) == ["u: trigger came 0.500 s after a 503"]
    assert crowd.summed(1, [taken] * 10, [taken] * 13)["times"] == 1.3
    with pytest.raises(AssertionError, match="14"):
        crowd.summed(1, [taken] * 10, [taken] * 14)
    with pytest.raises(AssertionError, match="came 0.500 s"):
        crowd.summed(1, [taken] * 10, [turned_away, taken])


def test_hours_of_watching_leave_memory_and_files_as_they_were() -> None:
    assert watching.watch_fake(3.0)["requests"]["trigger"] == 1


def test_the_campaign_of_watching_catches_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    leak: list[bytes] = []
    looked = Pacer.next_poll

    def leaking(self: Pacer, *words: Any) -> float:
        leak.append(bytes(range(256)) * 4096)
        return looked(self, *words)

    monkeypatch.setattr(Pacer, "next_poll", leaking)
    with pytest.raises(AssertionError):
        watching.watch_fake(3.0)


@pytest.mark.parametrize("endpoint", ["login", "status"])
def test_hostile_bodies_break_nothing(endpoint: str) -> None:
    found = hostile.attacked(endpoint, 30)
    assert found["wrong"] == []
    assert found["bodies"] >= 30
    assert found["lines"] > 100


def test_the_campaign_of_hostile_bodies_catches_a_defect_and_a_broken_line() -> None:
    fit = '{"exit_code": 9}'
    assert hostile._unfit(9, fit, '{"a": 1}\n') is None
    assert "code 1" in str(hostile._unfit(1, fit, "{}\n"))
    assert "no JSON" in str(hostile._unfit(9, fit, "broken {\n"))
    assert "is no object" in str(hostile._unfit(9, fit, "[]\n"))
    assert "NaN is no JSON" in str(hostile._unfit(9, fit, '{"a": NaN}\n'))
    assert "another code" in str(hostile._unfit(9, '{"exit_code": 0}', "{}\n"))
    assert "traceback" in str(hostile._unfit(9, fit, "Traceback\n"))


def test_there_are_three_hundred_different_bodies_for_each_endpoint() -> None:
    for endpoint in hostile.GOOD:
        assert len({*hostile.bodies(endpoint, 320)}) >= 300, endpoint
