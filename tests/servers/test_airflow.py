"""What only Airflow does: tokens that end, rights, cleared runs, paused DAGs, dates."""

import time
from typing import Any

from tests.servers.airflow_server import TOKEN_SECONDS, VIEWER, Airflow
from tests.servers.interface import HANGS, Place, only
from tests.servers.marks import on


@on("airflow")
def test_a_token_that_ends_in_mid_watch_is_replaced(place: Place) -> None:
    ended = place.run("nap", TOKEN_SECONDS + 10)
    assert ended.code == 0, ended.stderr
    assert len(ended.events("session.started")) >= 2
    assert place.jobs == {only(ended)["job_id"]: "completed"}


@on("airflow")
def test_a_user_without_the_right_to_trigger_is_told_so_and_logs_in_once(place: Place) -> None:
    place.secrets(VIEWER)
    ended = place.run("nap", 1)
    assert ended.code == 3, ended.stderr
    assert "Forbidden" in ended.errors
    assert len(ended.events("session.started")) == 1
    assert not place.jobs


@on("airflow")
def test_a_running_run_that_is_cleared_is_watched_to_its_end(place: Place, server: Airflow) -> None:
    running = place.start("nap", 8)
    job_id = place.until("running")
    time.sleep(2)
    server.clear("nap", job_id)
    ended = running.finish(HANGS)
    assert ended.code == 0, ended.stderr
    assert place.jobs == {job_id: "completed"}


@on("airflow")
def test_a_run_that_goes_back_into_the_queue_is_watched_to_its_end(place: Place, server: Airflow) -> None:
    running = place.start("nap", 12, poll={"min": "100ms", "max": "100ms"})
    job_id = place.until("running")
    time.sleep(2)
    server.requeue("nap", job_id)
    ended = running.finish(HANGS)
    assert ended.code == 0, ended.stderr
    assert place.jobs == {job_id: "completed"}


@on("airflow")
def test_a_paused_dag_is_told_at_once_and_gets_no_run(place: Place) -> None:
    ended = place.run("paused", deadline={"sync": "30s"})
    assert ended.code == 2, ended.stderr
    assert "paused" in only(ended)["error"]
    assert not place.jobs


@on("airflow")
def test_dates_are_the_logical_date_and_the_data_interval(place: Place, server: Airflow) -> None:
    sync = {**server.sync("nap", seconds=0), "start": "2026-01-01", "end": "2026-01-02"}
    ended = place.command("run", "--report", "-", syncs=[sync]).finish(HANGS)
    assert ended.code == 0, ended.stderr
    run: dict[str, Any] = server.ask("GET", f"/dags/nap/dagRuns/{only(ended)['job_id']}")
    dates = [run[name][:10] for name in ("logical_date", "data_interval_start", "data_interval_end")]
    assert dates == ["2026-01-01", "2026-01-01", "2026-01-02"]


@on("airflow")
def test_a_second_run_of_a_logical_date_is_refused_in_airflows_words(place: Place, server: Airflow) -> None:
    for count in (1, 2):
        sync = {**server.sync("nap", seconds=0), "start": "2026-02-01", "end": "2026-02-02"}
        ended = place.command("run", "--report", "-", syncs=[sync]).finish(HANGS)
        assert len(place.jobs) == 1
        assert ended.code == (0 if count == 1 else 2), ended.stderr
    assert "Unique constraint violation" in ended.errors


@on("airflow")
def test_the_last_lines_of_a_failed_task_are_in_the_report(place: Place) -> None:
    ended = place.run("fails")
    assert ended.code == 4
    log = only(ended)["log"]
    assert "=== boom, try 1" in log, ended.stderr
    assert "there is no data today" in "\n".join(log)


@on("airflow")
def test_the_log_of_a_running_task_is_followed(place: Place) -> None:
    ended = place.run("nap", 8, logs={"show": "follow"})
    assert ended.code == 0, ended.stderr
    names = [line["event"] for line in ended.logs]
    assert "sync.log" in names[: names.index("sync.ended")]
    assert "sync.output_unread" not in names
