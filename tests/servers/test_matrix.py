"""What may happen to a job, on each of the real servers. The judge is the server's own record, never the runner's word."""

import signal
import time

from tests.servers.cutting import CuttingProxy
from tests.servers.interface import HANGS, Place, only, terminate
from tests.servers.marks import on, on_all
from tests.servers.processes import wait_until

OUTAGE = 30.0  # seconds for which a server is stopped


@on_all()
def test_a_job_that_ends_well_is_a_success(place: Place) -> None:
    ended = place.run("nap", 1)
    assert ended.code == 0, ended.stderr
    assert place.jobs == {only(ended)["job_id"]: "completed"}


@on_all()
def test_a_job_that_ends_badly_is_a_failure(place: Place) -> None:
    ended = place.run("fails")
    assert ended.code == 4, ended.stderr
    assert place.jobs == {only(ended)["job_id"]: "failed"}


@on_all()
def test_a_job_that_is_cancelled_by_hand_is_told_as_cancelled(place: Place) -> None:
    running = place.start("nap", 600)
    job_id = place.until("running")
    cancelled = place.command("cancel", job_id, "--sync", "nap", syncs=[place.server.sync("nap")]).finish()
    assert cancelled.code == 0, cancelled.stderr
    assert place.ended() == "cancelled"
    ended = running.finish(HANGS)
    assert ended.code == 4, ended.stderr
    assert only(ended)["outcome"] == "cancelled"


@on_all()
def test_sigterm_cancels_the_job(place: Place) -> None:
    running = place.start("nap", 600)
    place.until("running")
    ended = terminate(running)
    assert ended.code == 143, ended.stderr
    assert place.ended() == "cancelled"


@on_all()
def test_sigterm_just_before_the_end_tells_what_became_of_the_job(place: Place) -> None:
    running = place.start("nap", 5)
    place.until("running")
    time.sleep(3)
    ended = terminate(running)
    at_last = place.ended()
    assert at_last in ("completed", "cancelled")
    assert (only(ended)["outcome"] == "completed") == (at_last == "completed"), ended.stderr


@on_all()
def test_sigterm_just_after_the_end_leaves_a_success_as_it_is(place: Place) -> None:
    running = place.start("nap", 1, poll={"min": "100s", "max": "100s"})
    place.until("completed")
    ended = terminate(running)
    assert list(place.jobs.values()) == ["completed"]
    assert only(ended)["outcome"] == "completed", ended.stderr


@on_all()
def test_a_job_that_has_ended_is_not_cancelled_by_hand(place: Place) -> None:
    job_id = only(place.run("nap", 1))["job_id"]
    place.command("cancel", job_id, "--sync", "nap", syncs=[place.server.sync("nap")]).finish()
    time.sleep(1)
    assert place.jobs == {job_id: "completed"}


@on_all()
def test_the_job_of_a_killed_run_is_adopted(place: Place) -> None:
    killed = place.start("nap", 15)
    job_id = place.until("running")
    killed.signal(signal.SIGKILL)
    killed.process.communicate()
    ended = place.run("nap", 15)
    assert ended.code == 0, ended.stderr
    assert place.jobs == {job_id: "completed"}


@on_all()
def test_a_trigger_whose_answer_is_cut_off_starts_one_job(place: Place) -> None:
    with CuttingProxy(place.server.base_url, place.server.mark) as proxy:
        place.base_url = proxy.base_url
        ended = place.run("nap", 5)
    assert proxy.cuts
    assert ended.code == 0, ended.stderr
    assert place.jobs == {only(ended)["job_id"]: "completed"}


@on_all()
def test_a_lost_trigger_is_not_answered_with_a_job_that_somebody_else_started(place: Place) -> None:
    """Ours ends while it is searched for, so that theirs is the only one that runs."""
    somebody = Place(place.server, place.home / "somebody")
    somebody.state = somebody.home / "state"
    starts = somebody.start("nap", 600)
    theirs = place.until("running")
    starts.signal(signal.SIGKILL)
    starts.process.communicate()
    with CuttingProxy(place.server.base_url, place.server.mark) as proxy:
        place.base_url = proxy.base_url
        ended = place.run("nap", 3)
    assert ended.code == 0, ended.stderr
    jobs = place.jobs
    assert jobs.pop(theirs) == "running"
    assert jobs == {only(ended)["job_id"]: "completed"}
    place.base_url = place.server.base_url
    place.command("cancel", theirs, "--sync", "nap", syncs=[place.server.sync("nap")]).finish()


@on_all()
def test_a_watch_outlives_a_server_that_is_stopped_for_30_seconds(place: Place) -> None:
    running = place.start("nap", 20)
    job_id = place.until("running")
    place.server.stop()
    try:
        time.sleep(OUTAGE)
    finally:
        place.server.start()
    ended = running.finish(HANGS)
    assert ended.code == 0, ended.stderr
    assert place.jobs == {job_id: "completed"}


@on_all()
def test_two_runners_at_once_start_one_job(place: Place) -> None:
    both = [place.start("nap", 8) for _runner in range(2)]
    ended = [each.finish(HANGS) for each in both]
    assert [each.code for each in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert list(place.jobs.values()) == ["completed"]


@on_all()
def test_a_job_that_the_server_does_not_know_is_a_fault_of_the_settings(place: Place) -> None:
    ended = place.run("nosuch")
    assert ended.code == 2, ended.stderr
    assert "nosuch" in ended.errors
    assert not place.jobs


@on("airflow", "allauth", "dagster", "prefect")
def test_a_parameter_that_the_server_refuses_is_a_fault_of_the_settings(place: Place) -> None:
    sync = place.server.sync("nap", **place.server.refused)
    ended = place.command("run", "--report", "-", syncs=[sync]).finish(HANGS)
    assert ended.code == 2, ended.stderr
    assert not place.jobs


@on_all()
def test_an_unknown_job_to_cancel_is_a_fault_of_the_command(place: Place) -> None:
    job_id = getattr(place.server, "unknown", "nosuch")
    ended = place.command("cancel", job_id, "--sync", "nap", syncs=[place.server.sync("nap")]).finish()
    assert ended.code == 2, ended.stderr


@on("airflow", "allauth", "flower", "prefect")
def test_a_wrong_password_starts_nothing(place: Place) -> None:
    place.state = place.home / "state"  # no session, and a cool-down of its own
    place.secrets({"password": "wrong"})
    ended = place.run("nap", 1)
    assert ended.code == 3, ended.stderr
    wait_until(lambda: not place.jobs, "no job", 5)
