"""Accounts from a table of a real PostgreSQL: each row is an account, and a wrong row is named."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.sandbox.command import write_secrets
from tests.support.accounts import users, write_accounts
from tests.support.command_line import CommandLine, Finished
from tests.support.postgresql import PASSWORD, Server

pytestmark = pytest.mark.xdist_group("postgresql")
SIZE = 6


@pytest.fixture
def database(database: Server) -> Iterator[Server]:
    database.sql("CREATE TABLE customers (id INT, folder TEXT, plan JSONB, active BOOLEAN)")
    yield database
    database.sql("DROP TABLE customers")


class Fleet:
    """A sandbox whose users have folders of secrets, and rows in a table."""

    def __init__(self, cli: CommandLine, database: Server, known: tuple[object, ...], folders: Path) -> None:
        self.cli, self.database, self.folders = cli, database, folders
        (folders / "state_password").write_text(PASSWORD)
        for number in range(len(known)):
            database.sql(f"INSERT INTO customers VALUES ({number}, 'account-{number:04}', NULL, true)")

    def run(self, query: str, *words: str, key: str = "accounts.query") -> Finished:
        """A command over the accounts that the query gives."""
        url = ["--base-url", self.cli.server.base_url, "--secrets-dir", str(self.folders)]
        state = ["--set", f"state.url={self.database.url}", "--set", "retry.wait=10ms", "--set", "poll.min=20ms"]
        from tests.support.command_line import sync_runner

        return sync_runner(*url, *state, "--set", f"{key}={query}", *words)


@pytest.fixture
def fleet(cli_with: Callable[..., CommandLine], database: Server, tmp_path: Path) -> Fleet:
    known = users(SIZE)
    return Fleet(cli_with(users=known), database, known, write_accounts(tmp_path / "accounts", known))


ALL = "SELECT folder AS name FROM customers WHERE active AND folder LIKE 'account-%' ORDER BY id;"


@pytest.mark.parametrize("key", ["accounts.query", "accounts_query"])
def test_each_row_is_an_account_with_the_folder_of_its_secrets(fleet: Fleet, key: str) -> None:
    fleet.database.sql("UPDATE customers SET active = false WHERE id = 5")
    ended = fleet.run(ALL, "run", "health", "--report", "-", key=key)
    assert ended.code == 0, ended.stderr
    assert [one["account"] for one in ended.report["accounts"]] == [
        f"account-{number:04}" for number in range(SIZE - 1)
    ]
    assert len(fleet.cli.jobs("completed")) == SIZE - 1


def test_shards_of_any_number_take_each_row_once(fleet: Fleet) -> None:
    held = []
    for index in range(4):
        ended = fleet.run(ALL, "run", "health", "--report", "-", "--shard", f"{index}/4")
        assert ended.code == 0, ended.stderr
        held += [one["account"] for one in ended.report["accounts"]]
    assert sorted(held) == [f"account-{number:04}" for number in range(SIZE)]
    assert len(fleet.cli.jobs()) == SIZE


def test_a_row_names_another_folder_and_syncs_of_its_own(fleet: Fleet, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_secrets(elsewhere, fleet.cli.server.credentials)
    plan = json.dumps([{"type": "workouts"}])
    rows = (
        f"SELECT 'one' AS name, '{elsewhere}' AS secrets_dir, '{plan}'::jsonb AS syncs UNION ALL "
        "SELECT 'two', 'account-0001', to_jsonb('activities,health'::text) UNION ALL SELECT 'account-0002', NULL, NULL"
    )
    ended = fleet.run(rows, "run", "health", "--report", "-")
    assert ended.code == 0, ended.stderr
    ran = sorted((one["account"], one["name"]) for one in ended.report["syncs"])
    assert ran == [("account-0002", "health"), ("one", "workouts"), ("two", "activities"), ("two", "health")]


def test_other_commands_work_on_the_same_accounts(fleet: Fleet) -> None:
    for words in (
        ("check", "--set", "syncs=health"),
        ("login",),
        ("status", "--offline", "--json"),
        ("run", "health", "--dry-run"),
    ):
        ended = fleet.run(ALL, *words, "--account", "account-000[12]")
        assert ended.code == 0, ended.stderr
    kept = json.loads(fleet.run(ALL, "state", "show", "--json").stdout)["accounts"]
    assert {one["account"] for one in kept} >= {"account-0001", "account-0002"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELEC 1", "syntax error"), ("SELECT 1 AS name", "row 1: `name` is not text"), ("SELECT 'a' AS nam", "did you mean `name`"),
        ("SELECT 'a' AS name WHERE false", "returned no row"), ("SELECT 'a/b' AS name", "give the account's folder"),
        ("SELECT 'a' AS name UNION ALL SELECT 'a'", "is used twice"), ("SELECT name FROM nowhere", "does not exist"),
        ("SELECT 'a' AS name, '[{\"typ\": 1}]'::jsonb AS syncs", "row 1 (a): syncs"), ("DELETE FROM customers", "syntax error"),
        ("SELECT 'b' AS name, 7 AS secrets_dir", "`secrets_dir` is not text"),
    ],
)  # fmt: skip
def test_a_query_or_row_that_cannot_be_used_is_named_and_nothing_is_sent(fleet: Fleet, query: str, told: str) -> None:
    ended = fleet.run(query, "run", "health")
    assert ended.code == 2, ended.stderr
    assert "accounts" in ended.errors
    assert told in ended.errors
    assert fleet.cli.record()["requests"] == []
    assert fleet.database.sql("SELECT count(*) FROM customers") == str(SIZE)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "accounts_dir=/tmp"), "`accounts_dir` is also set"),
        (("--set", "state.url=other://x"), "set state.url to a postgresql:// address"),
    ],
)
def test_settings_that_do_not_go_with_it_are_named(fleet: Fleet, more: tuple[str, ...], told: str) -> None:
    ended = fleet.run(ALL, "run", "health", *more)
    assert ended.code == 2
    assert told in ended.errors


def test_a_database_that_is_away_is_code_7(fleet: Fleet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = f"state.url=postgresql://runner@127.0.0.1:{port}/postgres"
    ended = fleet.run(ALL, "run", "health", "--set", away)
    assert ended.code == 7, ended.stderr
