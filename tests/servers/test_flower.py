"""What only Celery and Flower do: tasks that try again, a Flower that may start nothing."""

from tests.servers.flower_server import Flower
from tests.servers.interface import Place, only
from tests.servers.marks import on


@on("flower")
def test_a_task_that_tries_again_is_watched_to_its_second_try(place: Place) -> None:
    ended = place.run("retries")
    assert ended.code == 0, ended.stderr
    assert place.jobs == {only(ended)["job_id"]: "completed"}


@on("flower")
def test_a_read_only_flower_starts_nothing_and_its_words_are_told(place: Place, server: Flower) -> None:
    place.base_url = server.read_only()
    ended = place.run("nap", 1)
    assert ended.code == 3, ended.stderr
    assert "read" in ended.errors.lower()
    assert not place.jobs


@on("flower")
def test_an_argument_that_the_task_does_not_take_runs_nothing_and_ends_with_the_deadline(place: Place) -> None:
    """Flower answers it with 500 and no word, so that nobody can tell it from a fault after the task was sent."""
    sync = place.server.sync("nap", **place.server.refused)
    ended = place.command("run", "--report", "-", syncs=[sync], deadline={"sync": "5s"}).finish()
    assert ended.code == 6, ended.stderr
    assert not place.jobs
