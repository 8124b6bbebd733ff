"""The page on recovering is true: after each exit code its commands, run as they stand, bring the syncs to their end."""

import re
import signal
import sqlite3
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner import profile
from runner.errors import ExitCode
from tests.integration.docs.test_operations import BIN, PAGES, Machine
from tests.integration.outputs.conftest import sandbox_runner

PAGE = (PAGES / "recover.md").read_text(encoding="utf-8")
SETTINGS = "retry: {attempts: 2, wait: 10ms, connect_patience: 0}\npoll: {min: 20ms, patience: 2s}\n"
Change = Callable[[Machine], object]


def block(code: int) -> str:
    """The commands of the page for the exit code."""
    for heading, text in re.findall(r"^## Exit codes? (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        if str(code) in re.findall(r"\d+", heading):
            (found,) = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            return textwrap.dedent(found)
    raise AssertionError(f"no section for {code}")


def settings(text: str) -> Change:
    """Adds to the settings."""

    def change(machine: Machine) -> None:
        file = machine.etc / "runner.yaml"
        file.write_text(file.read_text() + text)

    return change


def without(text: str) -> Change:
    """Takes out of the settings."""

    def change(machine: Machine) -> None:
        file = machine.etc / "runner.yaml"
        file.write_text(file.read_text().replace(text, ""))

    return change


def faults(**values: object) -> Change:
    """Lets the API fail so."""
    return lambda machine: machine.runner.fault(**values)


def healed(machine: Machine) -> None:
    """The API is well again."""
    machine.runner.server.sandbox.faults.clear()


def wrong_password(machine: Machine) -> None:
    machine.secret("password", "no password of mine")


def right_password(machine: Machine) -> None:
    machine.secret("password", (machine.runner.secrets / "password").read_text())


def lost_trigger(machine: Machine) -> None:
    """An API that has neither idempotency keys nor a listing of running jobs loses a trigger's answer."""
    text = profile.locate("garminsync").read_text().replace("    idempotent: true\n", "")
    text = text.replace('      headers: {Idempotency-Key: "${idempotency_key}"}\n', "")
    start, end = text.index("  running:"), text.index("  recent:")
    (machine.etc / "forgetful.yaml").write_text(text[:start] + text[end:])
    settings(f"profile: {machine.etc / 'forgetful.yaml'}\n")(machine)
    machine.runner.fault(kind="reset_after", endpoint="trigger")


def an_hour_later(machine: Machine) -> None:
    """Before, a repeat triggers nothing."""
    jobs = len(machine.runner.server.sandbox.state.all("SELECT * FROM jobs"))
    code, written = machine.try_(block(8))
    assert code == 8
    assert "nothing was triggered, and nothing will be for 1 h after that try" in written
    assert len(machine.runner.server.sandbox.state.all("SELECT * FROM jobs")) == jobs
    with sqlite3.connect(machine.state / "ledger.sqlite3") as db:
        db.execute("UPDATE syncs SET intended_at = intended_at - 3601, lease_until = 0")
    db.close()


@dataclass(frozen=True)
class Failure:
    """What makes a run end with the code, and what a person mends before the page's commands."""

    made: Change
    mended: Change = healed


FAILURES = {
    2: Failure(settings("concurency: 3\n"), without("concurency: 3\n")),
    3: Failure(wrong_password, right_password),
    4: Failure(faults(kind="job_fails", times=-1)),
    5: Failure(faults(kind="job_fails", sync_type="health", times=-1)),
    6: Failure(
        lambda machine: (faults(kind="job_stalls", times=-1)(machine), settings("deadline: {sync: 3s}\n")(machine))
    ),
    7: Failure(faults(kind="status", status=503, endpoint="trigger", times=-1)),
    8: Failure(lost_trigger, an_hour_later),
    9: Failure(faults(kind="status", status=418, endpoint="trigger", times=-1)),
}


@contextmanager
def fresh(directory: Path, year: Path) -> Iterator[Machine]:
    """A machine before its first run."""
    with sandbox_runner(directory / "api", data=year) as runner:
        made = Machine(directory / "machine", runner)
        settings(SETTINGS)(made)
        without("syncs: [health]\n")(made)
        settings("syncs: [activities, health]\n")(made)
        yield made


@pytest.mark.parametrize("code", FAILURES)
def test_after_each_exit_code_the_pages_commands_bring_the_syncs_to_their_end(
    code: int, tmp_path: Path, year: Path
) -> None:
    with fresh(tmp_path, year) as machine:
        FAILURES[code].made(machine)
        ended, written = machine.try_("sync-runner run")
        assert ended == code, written
        FAILURES[code].mended(machine)
        machine.run(block(code))
        assert _open(machine) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_after_a_signal_the_pages_commands_bring_the_syncs_to_their_end(
    number: signal.Signals, tmp_path: Path, year: Path
) -> None:
    with fresh(tmp_path, year) as machine:
        machine.runner.fault(kind="job_stalls", times=1)
        with subprocess.Popen(
            [str(BIN / "sync-runner"), "run"], env=machine.environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            next(line for line in process.stderr if '"running"' in line)
            process.send_signal(number)
            process.communicate(timeout=180)
        code = 128 + number
        assert process.returncode == (-number if number == signal.SIGKILL else code)
        if number == signal.SIGKILL:  # the job goes on at the API, and ends there
            machine.runner.server.sandbox.state.run("UPDATE jobs SET status='completed' WHERE status='running'")
        machine.run(block(code))
        assert _open(machine) == ""


def _open(machine: Machine) -> str:
    """The syncs that a further `--only-failed` would do."""
    shown = machine.run("sync-runner run --only-failed --dry-run --json")
    return "" if '"syncs": []' in shown else shown


def test_every_exit_code_has_its_commands() -> None:
    for code in (*(one for one in ExitCode if one is not ExitCode.COMPLETED), 137):
        assert "sync-runner run" in block(int(code))
