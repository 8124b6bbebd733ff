"""`status` shows the data model: each session, its token and its jobs, and never a token's text."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.command_line import CommandLine

MakeCommandLine = Callable[..., CommandLine]
PAGE = (Path(__file__).parents[3] / "docs" / "data-model.md").read_text(encoding="utf-8")
PARTS = {"Authentication Token": "authentication_token", "User Session": "user_session", "Sync Job": "sync_jobs"}


def _shown(cli: CommandLine, *words: str) -> dict[str, Any]:
    """The one account of `status --json`."""
    ended = cli.run("status", "--json", *words)
    assert ended.code == 0, ended.errors
    (account,) = json.loads(ended.stdout)["accounts"]
    return dict(account)


def test_each_attribute_of_the_data_model_is_shown_but_for_the_tokens(cli: CommandLine) -> None:
    assert cli.run("run", "health").code == 0
    account = _shown(cli)
    for heading, part in PARTS.items():
        shown = account[part][0] if part == "sync_jobs" else account[part]
        section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
        rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", section, re.MULTILINE)
        assert len(rows) > 7
        assert [name for name, _where in rows if name not in shown] == [
            name for name, where in rows if where.strip() == "never: a secret"
        ]


def test_values_are_those_of_the_api(cli: CommandLine) -> None:
    assert cli.run("run", "health").code == 0
    account = _shown(cli)
    (job,) = account["sync_jobs"]
    assert (job["status"], job["progress"], job["total_items"], job["processed_items"]) == (
        "completed",
        100.0,
        365,
        365,
    )
    session, token = account["user_session"], account["authentication_token"]
    assert session["mfa_enabled"] is token["mfa_verified"] is True
    assert session["user_id"] == token["user_id"] == job["user_id"]
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] > 0
    assert session["created_at"] <= session["last_used_at"] < session["expires_at"]


def test_no_token_is_shown_not_even_in_part(cli: CommandLine) -> None:
    assert cli.run("run", "health").code == 0
    (file,) = (cli.state / "sessions").glob("[0-9a-f]*.json")
    kept = json.loads(file.read_text())["session"]
    secrets = [kept["token"]["access_token"], kept["refresh_token"]]
    for words in (("status",), ("status", "--json"), ("status", "--offline"), ("status", "--offline", "--json")):
        shown = cli.run(*words).stdout
        assert "session_id" in shown
        for secret in secrets:
            assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 8))


def test_the_last_use_is_that_of_the_last_request_and_costs_one_write(cli_with: MakeCommandLine) -> None:
    cli = cli_with(job_seconds=2.0)
    assert cli.run("run", "health").code == 0
    session = _shown(cli, "--offline")["user_session"]
    assert session["created_at"] < session["last_used_at"]


def test_offline_shows_what_the_state_remembers_and_asks_nobody(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="workouts", times=-1)
    cli.run("run", "health", "workouts")
    asked = len(cli.record()["requests"])
    account = _shown(cli, "--offline")
    assert [(job["sync_type"], job["status"]) for job in account["sync_jobs"]] == [
        ("workouts", "failed"),
        ("health", "completed"),
    ]
    assert account["user_session"]["session_id"]
    assert len(cli.record()["requests"]) == asked
    (cli.secrets / "password").unlink()
    without = _shown(cli, "--offline")
    assert len(without["sync_jobs"]) == 2
    assert (without["user_session"], without["note"]) == (
        None,
        "its secrets cannot be read, so its session is not shown",
    )


def test_a_person_sees_session_token_and_jobs(cli: CommandLine) -> None:
    assert cli.run("run", "health").code == 0
    shown = cli.run("status").stdout
    assert re.search(r"session:\n +session_id=\S+\n +user_id=\S+\n +expires_at=", shown)
    assert re.search(r"token:\n +token_id=\S+", shown)
    assert re.search(r"health .*completed .*365/365", shown)


def test_the_limit_bounds_the_jobs(cli: CommandLine) -> None:
    assert cli.run("run", "health", "workouts").code == 0
    assert len(_shown(cli, "--limit", "1")["sync_jobs"]) == 1
