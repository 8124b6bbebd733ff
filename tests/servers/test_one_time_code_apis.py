"""Home Assistant, n8n and Directus, each with a login by TOTP and jobs of its own: the judge is the server's own record."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers.cutting import CuttingProxy
from tests.servers.home_assistant_server import HomeAssistant
from tests.servers.interface import HANGS, Place, only, terminate
from tests.servers.marks import on
from tests.servers.n8n_server import N8n

THREE = ("directus", "home-assistant", "n8n")


@on(*THREE)
def test_a_job_ends_well_with_one_code_and_logout_ends_the_session_at_the_server(place: Place, server: Any) -> None:
    before = server.sessions()
    ended = place.run("nap", 3)
    assert ended.code == 0, ended.stderr
    assert list(place.jobs.values()) == ["completed"]
    (began,) = ended.events("session.started")
    assert (began["method"], began["mfa"]) == ("login", True)
    again = place.run("nap", 3)
    assert again.code == 0, again.stderr
    assert again.events("session.reused")
    assert sorted(place.jobs.values()) == ["completed", "completed"]
    assert place.command("logout").finish().code == 0
    assert server.sessions() == before - (server.profile == "n8n")  # n8n notes the cookie that was given back


@on(*THREE)
def test_a_job_that_ends_badly_is_told_in_its_own_words(place: Place, server: Any) -> None:
    ended = place.run("fails")
    assert ended.code == 4, ended.stderr
    shown = json.dumps(only(ended))
    assert "the disk is full" in shown
    record = server.told_as_failed() if isinstance(server, HomeAssistant) else list(place.jobs.values())
    assert record[-1] in ("failed", "fails")


@on(*THREE)
def test_a_trigger_whose_answer_is_cut_off_starts_one_job(place: Place) -> None:
    with CuttingProxy(place.server.base_url, place.server.mark) as proxy:
        place.base_url = proxy.base_url
        given = {"login": {"use": place.server.profile, "address": place.server.base_url}}
        ended = place.run("nap", 3, **(given if place.server.profile == "home-assistant" else {}))
    assert proxy.cuts
    assert ended.code == 0, ended.stderr
    assert list(place.jobs.values()) == ["completed"]


@on("home-assistant", "n8n")
def test_sigterm_cancels_the_job(place: Place) -> None:
    running = place.start("nap", 600)
    place.until("running")
    ended = terminate(running)
    assert ended.code == 143, ended.stderr
    assert place.ended() == "cancelled"


@on(*THREE)
def test_two_runners_at_once_start_one_job(place: Place) -> None:
    both = [place.start("nap", 3) for _runner in range(2)]
    ended = [each.finish(HANGS) for each in both]
    assert [each.code for each in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert list(place.jobs.values()) == ["completed"]


@on("home-assistant", "n8n")
def test_a_job_that_the_server_does_not_know_is_a_fault_of_the_settings(place: Place) -> None:
    ended = place.run("nosuch")
    assert ended.code == 2, ended.stderr
    assert not place.jobs


@on(*THREE)
@pytest.mark.parametrize("secret", ["password", "totp_seed"])
def test_a_wrong_secret_starts_nothing_and_is_sent_once(place: Place, secret: str) -> None:
    place.secrets({secret: "wrong" if secret == "password" else "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"})
    ended = place.run("nap", 3)
    assert ended.code == 3, ended.stderr
    assert len(ended.events("session.failed")) <= 1
    assert not place.jobs


@on(*THREE)
@pytest.mark.parametrize("kept", [False, True])
def test_a_run_waits_for_a_server_that_is_started_again(place: Place, kept: bool) -> None:
    """With a kept session the first request that meets the starting server is one about jobs, else it is the login's."""
    if kept:
        assert place.command("login").finish().code == 0
    place.server.stop()
    try:
        running = place.start("nap", 3)
        time.sleep(3)
    finally:
        place.server.start()
    ended = running.finish(HANGS)
    assert ended.code == 0, ended.stderr  # the login waited for the server
    assert list(place.jobs.values()) == ["completed"]


@on("home-assistant")
@pytest.mark.parametrize("kept", [False, True])
def test_a_run_waits_for_a_home_assistant_that_listens_and_has_no_scripts_yet(
    place: Place, server: HomeAssistant, kept: bool
) -> None:
    if kept:
        assert place.command("login").finish().code == 0
    server.stop()
    server.start(slow=8)
    ended = place.run("nap", 1)
    assert ended.code == 0, ended.stderr
    assert ended.events("http.retry"), "it was asked too late: it had its scripts"
    assert list(place.jobs.values()) == ["completed"]


@on("home-assistant")
def test_a_script_that_ended_with_a_slow_restart_is_told_as_failed_and_not_as_missing(
    place: Place, server: HomeAssistant
) -> None:
    running = place.start("nap", 600)
    place.until("running")
    server.stop()
    server.start(slow=14)  # a job that is missing for 10 s is gone
    ended = running.finish(HANGS)
    assert ended.code == 4, ended.stderr
    assert "does not know" not in ended.stderr


@on("home-assistant")
def test_a_script_without_a_word_about_its_end_is_failed_and_without_a_result_entity_it_is_completed(
    place: Place, server: HomeAssistant
) -> None:
    broken = {"type": "script.breaks", "params": {"result": "input_text.fails_result"}}
    ended = place.command("run", "--report", "-", syncs=[broken]).finish(HANGS)
    assert ended.code == 4, ended.stderr
    assert place.ended() == "failed"
    blind = place.command("run", "--report", "-", syncs=[{"type": "script.breaks"}]).finish(HANGS)
    assert blind.code == 0, blind.stderr  # Home Assistant's state of a script never tells of a failure


@on("n8n")
def test_the_log_of_a_failed_execution_names_the_node(place: Place, server: N8n, tmp_path: Path) -> None:
    ended = place.run("fails", logs={"dir": str(tmp_path / "logs")})
    assert ended.code == 4, ended.stderr
    (kept,) = (tmp_path / "logs").iterdir()
    assert "NodeOperationError: the disk is full" in kept.read_text()
