"""What only Dagster does: a web server that may start nothing, and a log of events."""

from tests.servers.dagster_server import Dagster
from tests.servers.interface import Place, only
from tests.servers.marks import on


@on("dagster")
def test_a_read_only_server_starts_nothing_and_its_words_are_told(place: Place, server: Dagster) -> None:
    place.base_url = server.read_only()
    ended = place.run("nap", 1)
    assert ended.code == 3, ended.stderr
    assert not place.jobs


@on("dagster")
def test_the_last_lines_of_a_failed_run_are_in_the_report(place: Place) -> None:
    ended = place.run("fails")
    assert ended.code == 4
    assert "there is no data today" in "\n".join(only(ended)["log"]), ended.stderr
