"""What only Prefect does: deployments by name, keys that it knows, runs that wait for their next try."""

from pathlib import Path

from tests.servers.interface import Place, only
from tests.servers.marks import on
from tests.servers.prefect_server import Prefect
from tests.support.recording_proxy import RecordingProxy


@on("prefect")
def test_a_flow_gets_its_parameters(place: Place, server: Prefect) -> None:
    ended = place.command("run", "--report", "-", syncs=[server.sync("quick", word="hello")]).finish()
    assert ended.code == 0, ended.stderr
    (run,) = server.runs("quick")
    assert run["parameters"] == {"word": "hello"}
    assert only(ended)["job_id"] == run["id"]


@on("prefect")
def test_a_repeated_trigger_gets_the_first_flow_run_and_a_failure_is_told_in_prefects_words(place: Place) -> None:
    with RecordingProxy(place.base_url, lose="/create_flow_run") as proxy:
        place.base_url = proxy.base_url
        ended = place.run("fails")
    triggers = [seen.status for seen in proxy.exchanges if seen.path.endswith("/create_flow_run")]
    # Made, and told once more by its key. In between Prefect may say 503, that it took nothing: where its SQLite is locked.
    assert [status for status in triggers if status != 503] == [201, 200], triggers
    assert list(place.jobs.values()) == ["failed"]
    assert ended.code == 4
    assert "there is no data today" in only(ended)["error"]


@on("prefect")
def test_a_flow_run_that_waits_for_its_next_try_is_watched_to_its_end(
    place: Place, server: Prefect, tmp_path: Path
) -> None:
    sync = server.sync("retries", marker=str(tmp_path / "tried"))
    ended = place.command("run", "--report", "-", syncs=[sync]).finish()
    assert ended.code == 0, ended.stderr
    assert place.jobs == {only(ended)["job_id"]: "completed"}


@on("prefect")
def test_a_deployment_that_is_not_there_is_told_by_name(place: Place) -> None:
    ended = place.command(
        "run", "--report", "-", syncs=[{"type": "quick", "params": {"deployment": "nightly"}}]
    ).finish()
    assert ended.code != 0
    assert "nightly" in ended.errors or "404" in ended.errors
    assert not place.jobs


@on("prefect")
def test_the_last_lines_of_a_failed_flow_run_are_in_the_report(place: Place) -> None:
    ended = place.run("fails")
    assert ended.code == 4
    assert "there is no data today" in "\n".join(only(ended)["log"]), ended.stderr
