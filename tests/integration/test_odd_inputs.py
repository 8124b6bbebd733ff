"""Files, folders and streams that are not what they should be: the right code, a message that names them, and no hang."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from runner.engine.fleet import configured
from runner.errors import UsageError
from runner.http.client import tls_context
from runner.settings import Settings, load
from runner.state.ledger import LedgerCorrupt
from tests.support import forked
from tests.support.command_line import CommandLine
from tests.support.in_process import command_here
from tests.support.ledgers import open_ledger

RUNNER = ["--base-url", "https://sync.example.org"]


def ended(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line that has ended, through a shell where streams are redirected."""
    if not shell:
        return forked.run([*RUNNER, *words], {**os.environ, **environment})
    command = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-m", "runner", *RUNNER, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env={**os.environ, **environment})


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A FIFO that nobody writes to."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_fifo_in_a_files_place_is_refused_and_hangs_nothing(fifo: Path) -> None:
    for words in (
        ["--config", str(fifo), "config", "show"],
        ["profiles", "validate", str(fifo)],
        ["--profile", str(fifo), "check", "--no-login"],
    ):
        told = ended(*words)
        assert told.returncode == 2 and "not a regular file" in told.stderr, words
    with pytest.raises(UsageError, match="tls.ca_file: .*not a regular file"):
        tls_context("https://sync.example.org", fifo)


def paths(model: type[BaseModel] = Settings, before: str = "") -> Iterator[str]:
    """The names of all settings that are a path."""
    for name, field in model.model_fields.items():
        for kind in get_args(field.annotation) or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from paths(kind, f"{before}{name}.")
            elif "Path" in repr(kind):
                yield f"{before}{name}"


@pytest.mark.parametrize("name", sorted({*paths(), "profile", "--config"}))
def test_a_path_that_cannot_be_is_no_defect(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in ("a" * 300, "/" + "b" * 5000, f"{tmp_path}/file/x", f"{tmp_path}/loop/x", "/dev/null/x", "\ud800"):
        given = ["--config", path] if name == "--config" else ["--set", f"{name}={path}"]
        for words in (["config", "show"], ["check", "--no-login"]):
            code, out, err = command_here(["--base-url", "https://127.0.0.1:1", "--log-format", "json", *given, *words])
            assert code != 1 and "defect" not in out + err, (path, err)


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true"])
def test_closed_full_and_broken_streams_change_no_exit_code(shell: str) -> None:
    assert ended("config", "show", shell=f"{shell}").returncode == 0
    assert ended("config", "show", shell=f"{shell}", SYNC_RUNNER_LOG__LEVEL="loud").returncode in (0, 2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTPS_PROXY", "http://p:99999"), ("NO_PROXY", "10.0.0.0/99"), ("SYNC_RUNNER_BASE_URL", "https://h:99999"), ("SYNC_RUNNER_BASE_URL", "https://h\n"), ("SYNC_RUNNER_BASE_URL", "https://h/\udcff")],
)  # fmt: skip
def test_a_variable_that_cannot_be_understood_is_code_2_and_named(cli: CommandLine, variable: str, value: str) -> None:
    base_url = [] if variable == "SYNC_RUNNER_BASE_URL" else ["--base-url", cli.server.base_url]
    words = [*base_url, "--secrets-dir", str(cli.home / "secrets"), "run", "health"]
    told = forked.run(words, {**os.environ, variable: value})
    assert told.returncode == 2, told.stderr
    assert variable in told.stderr or "base_url" in told.stderr


@pytest.mark.parametrize("name", ["username", "password", "totp_seed"])
def test_a_secret_in_a_variable_that_is_not_utf_8_is_code_3_and_named(cli: CommandLine, name: str) -> None:
    given = {"username": "someone", "password": "mango-7-lantern", "totp_seed": "JBSWY3DPEHPK3PXP"}
    given[name] = "mango-\udcff-lantern"
    words = ["--base-url", cli.server.base_url, "--secrets-dir", "/none", "run", "health"]
    variables = {f"SYNC_RUNNER_{one.upper()}": value for one, value in given.items()}
    told = forked.run(words, {**os.environ, **variables})
    assert told.returncode == 3, told.stderr
    assert f"SYNC_RUNNER_{name.upper()}: not UTF-8" in told.stderr and "lantern" not in told.stderr


def test_folder_names_of_any_bytes_become_names_that_can_be_printed(tmp_path: Path) -> None:
    for raw in (b"caf\xe9", b"two\nlines", b"\x1b[2J", "é".encode()):
        os.mkdir(os.path.join(os.fsencode(tmp_path), raw))  # noqa: PTH102, PTH118
    settings = load({"base_url": "https://x.example", "accounts_dir": str(tmp_path)}).settings
    names = {plan.name for plan in configured(settings)}
    assert names == {r"caf\xe9", r"two\nlines", r"\x1b[2J", "é"}
    assert all(plan.secrets_dir.is_dir() for plan in configured(settings))


@pytest.mark.parametrize(
    "change",
    [
        "carried = '{'",
        "carried = '[]'",
        "intended_at = 1e300",
        "intended_at = 'soon'",
        "ended_at = -1e20",
        "job_id = x'00ff'",
        "lease_until = 9e99",
    ],
)
def test_a_ledgers_row_that_no_runner_wrote_is_a_usage_error(tmp_path: Path, change: str) -> None:
    import sqlite3

    ledger = open_ledger(tmp_path)
    ledger.close()
    database = sqlite3.connect(tmp_path / "ledger.sqlite3")
    columns = {row[1]: row[2] for row in database.execute("PRAGMA table_info(syncs)")}
    filled = {
        name: 0 if kind in ("REAL", "INTEGER") else "{}" if name == "carried" else "x" for name, kind in columns.items()
    }
    database.execute(
        f"INSERT INTO syncs ({','.join(filled)}) VALUES ({','.join('?' * len(filled))})", [*filled.values()]
    )
    database.execute(f"UPDATE syncs SET {change}")
    database.commit()
    database.close()
    ledger = open_ledger(tmp_path)
    try:
        with pytest.raises(LedgerCorrupt, match="move the file away"):
            ledger.recent(5)
    finally:
        ledger.close()


@pytest.mark.parametrize("files", [5, 6, 8, 9, 11])
def test_a_limit_on_open_files_is_no_defect_and_no_fault_of_the_state(files: int, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    for name in ("username", "password"):
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text("xK9#vQ2m-of-nobody")
    words = [
        sys.executable, "-m", "runner", "--base-url", "http://127.0.0.1:9", "--secrets-dir", str(secrets),
        "--state-dir", str(tmp_path / "state"), "--set", "deadline.run=2s", "run", "health",
    ]  # fmt: skip
    told = subprocess.run(["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *words], capture_output=True, text=True)
    assert told.returncode == 2
    for harmful in ("defect", "remove it", "move the file away"):  # a ledger knows which jobs run
        assert harmful not in told.stderr
