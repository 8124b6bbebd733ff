"""`sync-runner state`: what is kept is shown without secrets, and taken from any place to any other with nothing lost."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import StateMoved
from runner.state.entry import Entry
from runner.state.interface import account_key
from runner.state.kubernetes import Cluster
from runner.state.sqlite_ledger import SqliteLedger
from tests.support.command_line import CommandLine, Running
from tests.support.in_process import command_here
from tests.support.kubernetes_api import ApiServer, api_server, certificate
from tests.support.ledgers import open_ledger, with_ledger
from tests.support.postgresql import PASSWORD, Server

pytestmark = pytest.mark.xdist_group("postgresql")
TABLES = ("sync_runner_accounts", "sync_runner_syncs", "sync_runner_locks", "sync_runner_schema")
KEY = "sSsn3nQIOLBVxQXgRdZgUGLd3BNGJzgEP9MgVLYrmVM="


def entry(key: str, name: str = "health") -> Entry:
    """A sync that was begun by a killed run."""
    return Entry(key, "https://x.example user", "default", name, "health", "run", intended_at=1_700_000_000.0)


@pytest.fixture
def database(database: Server) -> Iterator[Server]:
    yield database
    database.sql(f"DROP TABLE IF EXISTS {', '.join(TABLES)}")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def cluster(tmp_path: Path, tls: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with api_server(tmp_path, tls) as server:
        pod = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        made = Cluster.of_pod(pod, server.account)
        monkeypatch.setattr(Cluster, "of_pod", lambda _environment: made)
        yield server


@dataclass
class User:
    """A user's command line, with the secrets of the account and of the database."""

    cli: CommandLine

    def __post_init__(self) -> None:
        (self.cli.secrets / "state_password").write_text(PASSWORD)

    def _words(self, place: dict[str, str], *words: str) -> list[str]:
        """A command line with the state in `place`."""
        settings = [part for key, value in place.items() for part in ("--set", f"state.{key}={value}")]
        url = ["--base-url", self.cli.server.base_url, "--secrets-dir", str(self.cli.secrets), "--log-format", "json"]
        return [*url, *settings, "--set", "retry.connect_patience=0", *words]

    def __call__(self, place: dict[str, str], *words: str, code: int = 0) -> str:
        """What a command prints; what it complains of, where it ends with another code."""
        ended, out, err = command_here(self._words(place, *words))
        assert ended == code, out + err
        return out if code == 0 else err

    def start(self, place: dict[str, str], *words: str) -> Running:
        """Start a command as a process."""
        return Running(self._words(place, *words), {})

    def shown(self, place: dict[str, str]) -> dict[str, Any]:
        """`state show --json`."""
        found: dict[str, Any] = json.loads(self(place, "state", "show", "--json"))
        return found


@pytest.fixture
def user(cli_with: Callable[..., CommandLine]) -> User:
    return User(cli_with())


Places = dict[str, tuple[dict[str, str], list[str]]]


@pytest.fixture
def places(tmp_path: Path, database: Server, cluster: ApiServer) -> Places:
    """Each kind of place: as settings, and as `--to` names it."""
    assert cluster.port
    ledger = str(tmp_path / "ledger")
    return {
        "directory": ({"dir": str(tmp_path / "state")}, ["--to", str(tmp_path / "state")]),
        "PostgreSQL": ({"url": database.url}, ["--to", database.url]),
        "Secret": ({"kubernetes_secret": "sessions", "dir": ledger}, ["--to", "secret/sessions", "--to", ledger]),
    }


PAIRS = [
    ("directory", "PostgreSQL"), ("PostgreSQL", "directory"), ("Secret", "PostgreSQL"), ("PostgreSQL", "Secret"),
    ("directory", "Secret"), ("Secret", "directory"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_state_that_is_moved_is_whole_at_the_new_place_and_the_old_one_refuses_to_begin_anything(
    user: User, places: Places, old: str, new: str
) -> None:
    (here, _), (there, to) = places[old], places[new]
    user(here, "run", "activities", "health")
    before = user.shown(here)
    told = user(here, "state", "move", *to)
    assert "moved: 1 accounts, 2 syncs" in told
    after = user.shown(there)
    assert {**after, "state": None} == {**before, "state": None}
    assert after["syncs"] == 2
    user(there, "run", "activities", "health")  # with the session that was moved
    requests = user.cli.record()["requests"]
    assert sum(one["endpoint"] == "login" for one in requests) == 2  # password and code, once
    refused = user(here, "run", "activities", code=2)
    assert "was moved to" in refused
    assert "state move" in refused
    assert len(user.cli.jobs()) == 4


@pytest.mark.parametrize(("old", "new"), PAIRS[:2])
def test_state_comes_back_to_where_it_was_with_what_was_done_meanwhile(
    user: User, places: Places, old: str, new: str
) -> None:
    (here, back), (there, to) = places[old], places[new]
    user(here, "run", "activities")
    user(here, "state", "move", *to)
    user(there, "run", "health")
    user(there, "state", "move", *back)
    assert user.shown(here)["syncs"] == 2
    user(here, "run", "activities")
    assert "was moved to" in user(there, "run", "activities", code=2)
    assert sum(one["endpoint"] == "login" for one in user.cli.record()["requests"]) == 2


@pytest.mark.parametrize(("old", "new"), PAIRS[:2])
def test_a_move_is_refused_while_a_run_is_active_and_leaves_it_to_its_work(
    cli_with: Callable[..., CommandLine], places: Places, old: str, new: str
) -> None:
    (here, _), (there, to) = places[old], places[new]
    user = User(cli_with(job_seconds=4.0))
    running = user.start(here, "run", "activities", "health")
    user.cli.until("running")
    assert "a run is active" in user(here, "state", "move", *to, code=2)
    assert running.finish().code == 0
    assert user.shown(there)["accounts"] == []
    user(here, "state", "move", *to)
    assert user.shown(there)["syncs"] == 2


@pytest.mark.parametrize(("old", "new"), PAIRS[:2])
def test_the_job_of_a_killed_run_is_adopted_at_the_new_place(
    cli_with: Callable[..., CommandLine], places: Places, database: Server, old: str, new: str
) -> None:
    (here, _), (there, to) = places[old], places[new]
    user = User(cli_with(job_seconds=10.0))
    running = user.start(here, "run", "health")
    job = user.cli.until("running")
    while [one["job_id"] for one in user.shown(here)["open_syncs"]] != [job["job_id"]]:
        time.sleep(0.05)
    running.signal(signal.SIGKILL)
    running.process.communicate()
    end_leases = "UPDATE {} SET lease_until = 1"  # a minute later
    if "dir" in here:
        with closing(sqlite3.connect(Path(here["dir"]) / "ledger.sqlite3")) as ledger:
            ledger.execute(end_leases.format("syncs"))
            ledger.commit()
    else:
        database.sql(end_leases.format("sync_runner_syncs"))
    user(here, "state", "move", *to)
    user(there, "run", "health")
    assert [one["job_id"] for one in user.cli.jobs()] == [job["job_id"]]


def test_a_run_at_work_unseen_cannot_begin_a_sync_or_a_login_once_its_state_was_moved(tmp_path: Path) -> None:
    """As one that was stopped for longer than its leases, and goes on."""
    deadline = Deadline(SystemClock())

    async def work(ledger: SqliteLedger) -> None:
        await ledger.intend(entry("first"), deadline)
        await ledger.triggered("first", "job-1", deadline)
        other = SqliteLedger(tmp_path, SystemClock())
        assert await other.inventory.fence(deadline)
        await other.close(deadline)
        with pytest.raises(StateMoved, match="was moved to another place"):
            await ledger.intend(entry("second"), deadline)

    with_ledger(tmp_path, work)


def test_the_document_holds_all_has_mode_0600_and_makes_the_state_anew_anywhere(
    user: User, places: Places, tmp_path: Path
) -> None:
    (here, _), (there, _) = places["directory"], places["PostgreSQL"]
    user(here, "run", "activities", "health")
    file = tmp_path / "backup.json"
    user(here, "state", "export", "--file", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    assert (document["format"], document["version"]) == ("sync-runner state", 1)
    assert (
        user(here, "state", "export", "--file", "-").partition('"accounts"')[2]
        == file.read_text().partition('"accounts"')[2]
    )
    assert "imported: 1 accounts, 2 syncs" in user(there, "state", "import", "--file", str(file))
    assert {**user.shown(there), "state": None} == {**user.shown(here), "state": None}
    user(there, "run", "activities")
    assert sum(one["endpoint"] == "login" for one in user.cli.record()["requests"]) == 2


def test_an_account_that_has_another_state_there_is_not_overwritten_unasked(
    user: User, places: Places, tmp_path: Path
) -> None:
    here, _ = places["directory"]
    file = str(tmp_path / "backup.json")
    user(here, "run", "activities")
    user(here, "state", "export", "--file", file)
    user(here, "state", "import", "--file", file)  # the same again is no change
    user(here, "login", "--force")
    before = user.shown(here)
    told = user(here, "state", "import", "--file", file, code=2)
    assert "has another state there" in told
    assert "--replace" in told
    assert user.shown(here) == before
    user(here, "state", "import", "--replace", "--file", file)
    assert user.shown(here) != before


def test_encrypted_sessions_stay_encrypted_and_are_shown_only_with_their_key(
    user: User, places: Places, tmp_path: Path
) -> None:
    (here, _), (there, to) = places["directory"], places["PostgreSQL"]
    key = user.cli.secrets / "state_key"
    key.write_text(KEY)
    user(here, "run", "activities")
    shown = user.shown(here)
    assert shown["accounts"][0]["session_expires_at"]
    key.unlink()
    file = tmp_path / "backup.json"
    user(here, "state", "export", "--file", str(file))
    [record] = json.loads(file.read_text())["accounts"].values()
    assert record.keys() == {"schema", "sealed"}
    user(here, "state", "move", *to)
    assert "mount its key as the secret `state_key`" in user.shown(there)["accounts"][0]["note"]
    key.write_text(KEY)
    assert {**user.shown(there), "state": None} == {**shown, "state": None}


def test_no_secret_is_shown(user: User, places: Places) -> None:
    here, _ = places["directory"]
    user(here, "run", "activities")
    [file] = Path(here["dir"]).glob("sessions/[!s]*.json")  # beside it: what is kept of the seed
    session = json.loads(file.read_text())["session"]
    for words in (["state", "show"], ["state", "show", "--json"]):
        told = user(here, *words)
        for secret in (
            session["token"]["access_token"],
            session["refresh_token"],
            *user.cli.server.credentials.values(),
        ):
            assert secret not in told
        assert "default" in told  # the account's name


@pytest.mark.parametrize("kind", ["directory", "PostgreSQL", "Secret"])
def test_what_nobody_uses_is_forgotten_and_what_is_used_stays(
    user: User, places: Places, database: Server, cluster: ApiServer, kind: str
) -> None:
    here, _ = places[kind]
    user(here, "run", "activities")
    key = account_key(user.cli.server.base_url, user.cli.server.credentials["username"])
    assert [one["key"] for one in user.shown(here)["accounts"]] == [key]
    user(here, "state", "prune", "--older-than", "2d")
    assert len(user.shown(here)["accounts"]) == 1
    three_days_ago = time.time() - 3 * 86_400
    if kind == "directory":
        os.utime(Path(here["dir"]) / "sessions" / f"{key}.json", (three_days_ago, three_days_ago))
    elif kind == "PostgreSQL":
        database.sql("UPDATE sync_runner_accounts SET used_at = used_at - interval '3 days'")
    else:
        assert cluster.secret is not None
        cluster.secret["metadata"]["annotations"][f"sync-runner.io/lock-{key}"] = f"- {three_days_ago:.0f}"
    assert json.loads(user(here, "state", "prune", "--older-than", "2d", "--json")) == {
        "forgotten": {"accounts": 1, "syncs": 0}
    }
    assert user.shown(here)["accounts"] == []


def test_a_run_forgets_the_accounts_of_a_secret_that_nobody_uses_without_a_request_more(
    user: User, places: Places, cluster: ApiServer
) -> None:
    here, _ = places["Secret"]
    old, unmarked = "0" * 32, "1" * 32
    assert cluster.secret is not None
    cluster.secret["data"] = {f"{old}.json": "e30=", f"{unmarked}.json": "e30="}
    cluster.secret["metadata"]["annotations"] = {f"sync-runner.io/lock-{old}": "pod-1 1600000000"}
    user(here, "run", "activities")
    assert f"{old}.json" not in cluster.secret["data"]
    assert f"{unmarked}.json" in cluster.secret["data"]  # when it was used is not known: it counts from now
    assert cluster.secret["metadata"]["annotations"][f"sync-runner.io/lock-{unmarked}"].startswith("- ")
    assert f"sync-runner.io/lock-{old}" not in cluster.secret["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"), ("{}", "`format` is not"), ('{"format": "sync-runner state", "version": 2}', "newer sync-runner"),
        ('{"format": "sync-runner state", "version": true}', "`version` is invalid"),
        ('{"format": "sync-runner state", "version": 1}', "`accounts` or `syncs` is missing"),
        ('{"format": "sync-runner state", "version": 1, "accounts": {"x": {}}, "syncs": []}', "accounts.x: not the key"),
        (f'{{"format": "sync-runner state", "version": 1, "accounts": {{"{"a" * 32}": []}}, "syncs": []}}', "not a state"),
        (f'{{"format": "sync-runner state", "version": 1, "accounts": {{"{"a" * 32}": {{"schema": 1}}}}, "syncs": []}}',
         "not a state"),
        ('{"format": "sync-runner state", "version": 1, "accounts": {}, "syncs": [[]]}', "syncs[0]: not a sync"),
        ('{"format": "sync-runner state", "version": 1, "accounts": {}, "syncs": [{"key": 7}]}', "syncs[0]: not a sync"),
    ],
)  # fmt: skip
def test_a_document_that_none_of_ours_wrote_is_refused_whole_and_its_fault_is_named(
    user: User, places: Places, tmp_path: Path, content: str, told: str
) -> None:
    here, _ = places["directory"]
    file = tmp_path / "backup.json"
    file.write_text(content)
    assert told in user(here, "state", "import", "--file", str(file), code=2)
    assert not Path(here["dir"]).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "--file", "x"], "--file is only for"), (["move"], "give the destination"),
        (["show", "--to", "x"], "--to is only for `state move`"), (["prune", "--older-than", "1h"], "at least 1d"),
        (["prune", "--older-than", "soon"], "give a duration"), (["export", "--file", "/nowhere/at/all"], "cannot be written"),
        (["import", "--file", "/nowhere"], "cannot be read"), (["prune", "--account", "a"], "processes all accounts"),
        (["move", "--to", "a", "--to", "b"], "two places"), (["move", "--to", "postgresql://x", "--to", "b"], "no other place"),
        (["show", "--replace"], "--replace is only for"), (["move", "--to", "secret/session"], "works in a pod"),
    ],
)  # fmt: skip
def test_a_command_that_makes_no_sense_says_what_would(user: User, tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    assert told in user({"dir": str(tmp_path / "state")}, "state", *words, code=2)


def test_without_a_state_it_says_how_to_name_one_and_a_wrong_directory_is_not_made(user: User, tmp_path: Path) -> None:
    assert "none is configured" in user({}, "state", "show", code=2)
    assert "does not exist" in user({"dir": str(tmp_path / "typo")}, "state", "show", code=2)
    assert not (tmp_path / "typo").exists()


def test_a_move_to_where_the_state_is_changes_nothing(user: User, places: Places) -> None:
    here, to = places["directory"]
    user(here, "run", "activities")
    assert "already has the state" in user(here, "state", "move", *to, code=2)
    user(here, "run", "activities")


def test_a_secret_takes_no_list_of_syncs_and_open_ones_are_never_left_behind(
    user: User, places: Places, database: Server
) -> None:
    here, _ = places["PostgreSQL"]
    user(here, "run", "activities")
    to = ["--to", "secret/sessions"]
    assert "a Secret cannot store the list of syncs" in user(here, "state", "move", *to, code=2)
    database.sql("UPDATE sync_runner_syncs SET outcome = NULL")
    assert "the end of 1 sync is not known" in user(here, "state", "move", *to, "--without-ledger", code=2)
    database.sql("UPDATE sync_runner_syncs SET outcome = 'completed'")
    user(here, "state", "move", *to, "--without-ledger")
    assert user.shown({"kubernetes_secret": "sessions"})["accounts"][0]["session_expires_at"]


def test_thousands_of_syncs_are_moved_by_pages(user: User, places: Places) -> None:
    (here, _), (there, to) = places["directory"], places["PostgreSQL"]
    user(here, "state", "import", "--file", "-", code=2)  # an empty document makes the directory
    ledger = open_ledger(Path(here["dir"]))
    for number in range(2500):
        ledger.intend(entry(f"key-{number}", name=f"sync-{number}"))
    ledger.close()
    user(here, "state", "move", *to)
    assert len(user.shown(there)["open_syncs"]) == 2500
