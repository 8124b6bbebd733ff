"""The pages for operators are true: their commands are run in order, as on the machine that they are written for."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.outputs.conftest import Runner, sandbox_runner
from tests.support.postgresql import PASSWORD, postgresql

PAGES = Path(__file__).parents[3] / "docs" / "operations"
BIN = Path(sys.executable).parent


def blocks(name: str) -> list[str]:
    """The `sh` blocks of a page, in order."""
    text = (PAGES / name).read_text(encoding="utf-8")
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


class Machine:
    """A machine with the paths of the pages, below a directory; `runner` has the API's side."""

    def __init__(self, directory: Path, runner: Runner) -> None:
        self.runner, self.directory = runner, directory
        self.state, self.etc = directory / "state", directory / "etc"
        for path in (self.state, self.etc / "secrets", directory / "backups"):
            path.mkdir(parents=True)
            path.chmod(0o700)
        for secret in runner.secrets.iterdir():
            self.secret(secret.name, secret.read_text())
        (self.etc / "runner.yaml").write_text(
            f"base_url: {runner.server.base_url}\nsecrets_dir: {self.etc / 'secrets'}\nsyncs: [health]\n"
        )

    def secret(self, name: str, value: str) -> None:
        """Write a secret file."""
        path = self.etc / "secrets" / name
        path.write_text(value)
        path.chmod(0o600)

    def environment(self) -> dict[str, str]:
        """What the unit sets."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SYNC_RUNNER_")}
        return {
            **kept,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SYNC_RUNNER_CONFIG": str(self.etc / "runner.yaml"),
            "SYNC_RUNNER_STATE__DIR": str(self.state),
            "SYNC_RUNNER_LOG__FORMAT": "json",
        }

    def try_(self, script: str, typed: str = "") -> tuple[int, str]:
        """The exit code of the script, and all that it wrote; `typed` is what a person types in."""
        places = {
            "/etc/sync-runner": self.etc, "/var/lib/sync-runner": self.state, "/var/backups": self.directory / "backups",
        }  # fmt: skip
        for path, here in places.items():
            script = script.replace(path, str(here))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.directory, env=self.environment(), input=typed,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def run(self, script: str, typed: str = "") -> str:
        """What a script wrote that ended well."""
        code, written = self.try_(script, typed)
        assert code == 0, f"{script}\n{written}"
        return written

    def api_takes(self, **user: str) -> None:
        """Change the user's password or seed at the API."""
        known = {
            name: (self.runner.secrets / name).read_text().strip() for name in ("username", "password", "totp_seed")
        }
        request = urllib.request.Request(
            f"{self.runner.server.base_url}/admin/users",
            json.dumps(known | user).encode(),
            {"Authorization": f"Bearer {self.runner.server.sandbox.settings.admin_token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        for name, value in user.items():
            (self.runner.secrets / name).write_text(value)

    def sessions(self) -> str:
        """What is kept of the session, as it stands in its file."""
        [file] = (self.state / "sessions").glob("[0-9a-f]*.json")
        return file.read_text()


@pytest.fixture
def machine(tmp_path: Path, year: Path) -> Iterator[Machine]:
    """A machine on which one run was good."""
    with sandbox_runner(tmp_path / "api", data=year) as runner:
        made = Machine(tmp_path / "machine", runner)
        made.run("sync-runner run")
        yield made


def test_an_upgrade_keeps_the_session_and_a_rollback_restores_the_state(machine: Machine) -> None:
    upgrade, status, again, without_backup = blocks("upgrade.md")
    back_up, restore, _moved = blocks("backup.md")
    machine.run(back_up)
    written = machine.run(upgrade)
    assert '"method": "login"' not in written
    _make_newer(machine.state / "ledger.sqlite3")
    code, written = machine.try_(again)
    assert code == 2 and "newer sync-runner" in written
    assert '"event": "http' not in written
    machine.run(restore)
    written = machine.run(status + again)
    assert '"result": "completed"' in written and '"method": "login"' not in written
    _make_newer(machine.state / "ledger.sqlite3")
    assert '"method": "login"' not in machine.run(without_backup)


def _make_newer(ledger: Path) -> None:
    """As a version would leave it that is ahead of all, and whose file no older one can use."""
    with sqlite3.connect(ledger) as db:
        db.execute("PRAGMA user_version = 999")
        db.execute("UPDATE readable SET schema = 999")
    db.close()


def test_a_backup_is_for_its_owner_alone_and_a_restored_state_needs_no_login(machine: Machine) -> None:
    back_up, restore, _moved = blocks("backup.md")
    machine.run(back_up)
    assert (machine.directory / "backups" / "sync-runner-state.tgz").stat().st_mode & 0o777 == 0o600
    (machine.state / "ledger.sqlite3").write_bytes(b"broken")
    assert "completed" in machine.run(restore)
    assert '"method": "login"' not in machine.run("sync-runner run")


def test_a_moved_state_adopts_the_job_that_the_old_machine_left_running(machine: Machine, tmp_path: Path) -> None:
    back_up, restore, moved = blocks("backup.md")
    machine.runner.fault(kind="job_stalls", times=1)
    words = [str(BIN / "sync-runner"), "run", "health", "--force-full", "--set", "on_interrupt=detach"]
    with subprocess.Popen(words, env=machine.environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"running"' in line)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)
    assert process.returncode == 143
    machine.run(back_up)
    there = Machine(tmp_path / "new", machine.runner)
    archive = Path("backups", "sync-runner-state.tgz")
    (there.directory / archive).write_bytes((machine.directory / archive).read_bytes())
    there.run(restore)
    jobs = len(machine.runner.server.sandbox.state.all("SELECT * FROM jobs"))
    code, written = there.try_(moved.replace("sync-runner run", "sync-runner run --set deadline.sync=3s"))
    assert code == 6, written  # it watched the job that stalls, to its deadline
    assert '"method": "login"' not in written
    assert len(machine.runner.server.sandbox.state.all("SELECT * FROM jobs")) == jobs


def test_a_new_password_is_proved_and_ends_the_cool_down_of_the_old_one(machine: Machine) -> None:
    write, log_in = blocks("rotate.md")[:2]
    machine.api_takes(password="another Pass-word 7")
    assert machine.try_("sync-runner logout; sync-runner run")[0] == 3
    machine.run(write, typed="another Pass-word 7\n")
    written = machine.run(log_in)
    assert '"method": "login"' in written
    assert '"method": "login"' not in machine.run("sync-runner run")
    assert _modes(machine) == {0o600}


def test_a_new_seed_is_proved(machine: Machine) -> None:
    write, log_in = blocks("rotate.md")[2:4]
    machine.api_takes(totp_seed="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    machine.run(write, typed="jbsw y3dp ehpk 3pxp jbsw y3dp ehpk 3pxp\n")
    assert '"method": "login"' in machine.run(log_in)
    assert _modes(machine) == {0o600}


def test_a_state_key_hides_the_session_can_be_changed_and_can_be_lost(machine: Machine) -> None:
    begin, change, lost = blocks("rotate.md")[4:]
    assert "access_token" in machine.sessions()
    machine.run(begin)
    assert "access_token" not in machine.sessions()
    first = (machine.etc / "secrets" / "state_key").read_text()
    machine.run(change)
    second = (machine.etc / "secrets" / "state_key").read_text()
    assert first != second and "," not in second
    assert _modes(machine) == {0o600}
    machine.secret("state_key", first)
    code, written = machine.try_("sync-runner check")
    assert code == 3 and "state_key" in written
    assert '"method": "login"' in machine.run(lost)


def _modes(machine: Machine) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in (machine.etc / "secrets").iterdir()}


def test_every_page_is_in_the_index_and_every_block_is_known() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in PAGES.iterdir()} - {"README.md"}
    assert pages == {"upgrade.md", "backup.md", "rotate.md", "recover.md", "state.md"}
    assert all(f"]({page})" in index for page in pages)
    assert [len(blocks(page)) for page in ("upgrade.md", "backup.md", "rotate.md")] == [4, 3, 7]


@pytest.mark.xdist_group("postgresql")
def test_the_state_is_shown_written_to_a_document_and_moved_to_postgresql_and_back(machine: Machine) -> None:
    show, prune, document, move, go_on, back = blocks("state.md")
    assert "account default: session_expires_at=" in machine.run(show)
    assert "forgotten: 0 accounts, 0 syncs" in machine.run(prune)
    assert "imported: 1 accounts, 1 syncs" in machine.run(document)
    assert (machine.directory / "backups" / "sync-runner-state.json").stat().st_mode & 0o777 == 0o600
    machine.secret("state_password", PASSWORD)
    with postgresql() as server:
        address = "postgresql://runner@db.example.org/sync"
        assert "moved: 1 accounts, 1 syncs" in machine.run(move.replace(address, server.url))
        code, written = machine.try_("sync-runner run")
        assert code == 2 and "was moved to" in written
        assert '"method": "login"' not in machine.run(go_on.replace(address, server.url))
        assert "moved: 1 accounts, 2 syncs" in machine.run(back.replace(address, server.url))
    assert '"method": "login"' not in machine.run("sync-runner run")
