"""The first moments of the process: a signal is never lost, and never meets code that can not bear it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.ledger import Ledger
from runner.lock import open_lock, try_lock
from runner.loop import complete
from tests.command_line import Desk

MakeDesk = Callable[..., Desk]

_KILLED_WHEN_IMPORTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == os.environ["KILLED_AT"]:
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
"""


def _killed_at(module: str, directory: Path) -> dict[str, str]:
    """An environment in which the process gets a SIGTERM when it begins to import `module`."""
    (directory / "sitecustomize.py").write_text(_KILLED_WHEN_IMPORTED)
    return {"PYTHONPATH": f"{directory}:{Path.cwd()}", "KILLED_AT": module}


@pytest.mark.parametrize("module", ["runner.cli", "pydantic", "runner.run", "httpx"])
def test_a_signal_in_the_middle_of_the_start_is_obeyed_with_a_report_and_no_trigger(
    desk_with: MakeDesk, tmp_path: Path, module: str
) -> None:
    desk = desk_with(mfa="none")
    ended = desk.run("run", "health", "workouts", **_killed_at(module, tmp_path))
    assert ended.code == 143
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["interrupted", "interrupted"]
    assert ended.events("run.interrupted")[0]["signal"] == "SIGTERM"
    assert desk.jobs() == []


def test_a_command_that_leaves_nothing_behind_ends_at_once(desk_with: MakeDesk, tmp_path: Path) -> None:
    desk = desk_with(mfa="none")
    ended = desk.run("check", **_killed_at("pydantic", tmp_path))
    assert (ended.code, ended.stdout) == (143, "")
    assert desk.record()["requests"] == []


def test_a_signal_that_a_parent_held_back_is_obeyed(desk_with: MakeDesk, tmp_path: Path) -> None:
    """As `env --block-signal=TERM` does for PID 1, which would lose a signal before it has a handler."""
    desk = desk_with(mfa="none")
    held = [sys.executable, "-c", _HELD_BACK, sys.executable, "-m", "runner", *desk.options(), "run", "health"]
    done = subprocess.run(held, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 143
    assert "Traceback" not in done.stderr
    assert desk.jobs() == []


_HELD_BACK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_second_signal_in_the_start_ends_the_process_at_once(tmp_path: Path) -> None:
    program = "import os, signal\nfrom runner import signals\nsignals.listen()\n"
    program += "os.kill(os.getpid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGTERM)\nprint('goes on')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_a_resolver_that_hangs_holds_up_neither_the_deadline_nor_the_end(desk_with: MakeDesk, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *words, **more: time.sleep(600)\n"
    )
    desk = desk_with(mfa="none")
    began = time.monotonic()
    ended = desk.run(
        "run", "health", "--base-url", "https://no-such-host.invalid", "--set", "deadline.run=1s",
        PYTHONPATH=f"{tmp_path}:{Path.cwd()}",
    )  # fmt: skip
    assert ended.code == 6
    assert time.monotonic() - began < 60.0


def test_names_are_looked_up_and_a_failure_is_the_systems_own() -> None:
    import asyncio

    async def look(name: str) -> object:
        return await asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM)

    assert ("127.0.0.1", 80) in [one[4] for one in complete(look("localhost"))]  # type: ignore[attr-defined]
    with pytest.raises(socket.gaierror):
        complete(look("no-such-host.invalid"))


def test_a_ledger_that_stays_locked_ends_the_run_before_anything_is_sent(desk_with: MakeDesk) -> None:
    desk = desk_with(mfa="none")
    Ledger(desk.state).close()
    descriptor = open_lock(desk.state / "ledger.lock")
    try:
        assert try_lock(descriptor)
        ended = desk.run("run", "health", "--set", "deadline.run=1s")
    finally:
        os.close(descriptor)
    assert ended.code == 2
    assert "another process holds the ledger" in ended.errors
    assert desk.record()["requests"] == []
