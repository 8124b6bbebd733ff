"""`login`, `logout`, `cancel` and `status` say what they did, for each account by its own name."""

from collections.abc import Callable, Iterator

import pytest

from runner.commands import status
from tests.support.accounts import users, write_accounts
from tests.support.command_line import CommandLine

MakeCommandLine = Callable[..., CommandLine]


@pytest.fixture
def fleet(cli_with: MakeCommandLine) -> Iterator[CommandLine]:
    """Two accounts, whose folders are named as their users are."""
    known = users(2)
    cli = cli_with(users=known, mfa="none", job_seconds=600.0)
    folders = write_accounts(cli.home / "accounts", known)
    for number in range(2):
        (folders / f"account-{number:04}").rename(folders / f"user-{number:04}")
    yield cli


def _of(fleet: CommandLine) -> tuple[str, ...]:
    return ("--set", f"accounts_dir={fleet.home / 'accounts'}")


def test_login_and_logout_say_what_was_done_with_each_session(cli: CommandLine) -> None:
    first = cli.run("login")
    assert first.stdout.startswith("default: logged in with a one-time code; valid until 20")
    assert first.stdout.endswith("; the API's clock shows no difference from ours\n")
    assert cli.run("login").stdout.startswith("default: the stored session is valid; valid until 20")
    assert "the session was deleted here; the profile has no request to end it at the API" in cli.run("logout").stdout
    assert cli.run("logout").stdout == "default: no session was stored\n"


def test_login_says_where_the_apis_clock_stands(cli_with: MakeCommandLine) -> None:
    told = cli_with(clock_offset=90.0).run("login").stdout
    assert "the API's clock is 90 s ahead of ours" in told or "the API's clock is 89 s ahead of ours" in told


def test_an_account_that_is_named_as_its_user_keeps_its_name_in_every_answer(fleet: CommandLine) -> None:
    for words in (
        ("login",),
        ("status",),
        ("status", "--json"),
        ("status", "--offline"),
        ("check", "--set", "syncs=health"),
    ):
        ended = fleet.run(*words, *_of(fleet))
        assert ended.code == 0, ended.stderr
        assert "user-0000" in ended.stdout and "user-0001" in ended.stdout
    ended = fleet.run("logout", "--account", "user-0001", *_of(fleet))
    assert ended.stdout.startswith("user-0001: the session was deleted here")


def test_a_job_of_one_account_of_several_is_cancelled_and_that_is_success(fleet: CommandLine) -> None:
    running = fleet.start("run", "health", "--report", "-", "--account", "user-0001", *_of(fleet))
    job = fleet.until("running")
    ended = fleet.run("cancel", job["job_id"], *_of(fleet))
    assert (ended.code, ended.stdout) == (0, f"{job['job_id']}: cancelled\n")
    assert not ended.events("run.failed")
    running.finish()
    unknown = fleet.run("cancel", "no-such-job", *_of(fleet))
    assert unknown.code == 2
    assert len(unknown.events("run.failed")) == 1
    assert "cancel: the API does not know job no-such-job" in unknown.errors


def test_where_an_account_could_not_be_asked_cancel_does_not_say_that_there_is_no_such_job(fleet: CommandLine) -> None:
    (fleet.home / "accounts" / "user-0001" / "password").write_text("another password\n")
    ended = fleet.run("cancel", "no-such-job", *_of(fleet))
    assert ended.code == 3
    assert "does not know job" not in ended.errors


@pytest.mark.parametrize("columns", [40, 80, 119, 120, 200])
def test_a_jobs_id_is_shown_whole_at_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    job = dict.fromkeys(status._JOB) | {
        "job_id": "2ec0e956-615b-4c5f-9f1e-0123456789ab", "sync_type": "activities", "status": "completed", "progress": 100.0,
        "processed_items": 3, "total_items": 3, "start_time": "2026-11-27T11:15:40.000Z", "error_message": "no " * 80,
    }  # fmt: skip
    told = {"account": "default", "user_session": None, "authentication_token": None, "sync_jobs": [job], "note": None}
    status._print([told])
    assert str(job["job_id"]) in capsys.readouterr().out
