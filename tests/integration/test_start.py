"""The first moments of the process: what is loaded when; a signal is never lost, and never meets code that cannot bear it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.engine.event_loop import complete
from runner.profile import loading
from runner.state.file_lock import open_lock, try_lock
from tests.support.command_line import CommandLine
from tests.support.ledgers import open_ledger

MakeCommandLine = Callable[..., CommandLine]

LATE = {"structlog", "prometheus_client", "tenacity", "pyotp"}  # not before the first request has left
NEVER = {
    "rich", "rich.traceback", "yaml", "difflib", "jmespath", "starlette", "uvicorn", "argon2", "jwt", "jsonschema", "cryptography",
}  # fmt: skip

# Runs the command line; prints its code and the names of the modules loaded when a request first left, and at the end.
LOADED = """
import json, sys
from runner.engine import run as engine
from runner.http.client import _Progress
from runner.cli import run
engine.LOAD_SECONDS = 60.0  # a busy machine may take longer than that bound until the first request has left
trace, seen = _Progress.trace, []
async def note(self, event, details):
    if event.endswith("send_request_body.complete"):
        seen.append(sorted(sys.modules))
    await trace(self, event, details)
_Progress.trace = note
code = run(sys.argv[1:])
print(json.dumps([code, seen[0], sorted(sys.modules)]))
"""

# Runs the command line; prints its code, how often garbage was collected until a request first left, and both thresholds.
COLLECTED = """
import gc, json, sys
from runner.__main__ import main
from runner.engine import run as engine
from runner.http.client import _Progress
engine.LOAD_SECONDS = 60.0
trace, seen = _Progress.trace, []
collections = lambda: sum(one["collections"] for one in gc.get_stats())
async def note(self, event, details):
    if event.endswith("send_request_body.complete"):
        seen.append([collections() - before, gc.get_threshold()[0]])
    await trace(self, event, details)
_Progress.trace = note
before = collections()
try:
    main()
except SystemExit as ended:
    print(json.dumps([ended.code, *seen[0], gc.get_threshold()[0]]))
"""


@pytest.fixture(autouse=True, scope="module")
def precompiled_profiles() -> None:
    """As a built package has them: what a developer has changed since is read as YAML, which loads more."""
    loading.precompile()


def modules(script: str, *words: str) -> Any:
    """What the script printed as JSON, in a process of its own."""
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_what_the_first_request_does_not_need_is_loaded_after_it_has_left(cli: CommandLine) -> None:
    assert cli.run("login").code == 0
    words = [*cli.options(), "--set", f"metrics.textfile={cli.home / 'run.prom'}", "run", "health"]
    code, first, last = modules(LOADED, *words)
    assert code == 0
    # Where click is installed too (uvicorn brings it), httpx itself loads rich for a command line of its own, but not its
    # tracebacks: structlog does.
    httpx_loads = {*modules("import httpx, json, sys; print(json.dumps(sorted(sys.modules)))")}
    assert sorted((LATE | NEVER) & {*first} - httpx_loads) == []
    assert sorted(NEVER & {*last} - httpx_loads) == []
    assert {"structlog", "prometheus_client"} <= {*last}


def test_what_nobody_asked_for_is_never_loaded(cli: CommandLine) -> None:
    assert cli.run("login").code == 0
    _code, _first, last = modules(LOADED, *cli.options(), "run", "health")
    assert sorted({"prometheus_client", "pyotp", "tenacity"} & {*last}) == []


def test_no_garbage_is_collected_before_the_first_request_and_it_is_after(cli: CommandLine) -> None:
    code, collected, first, last = modules(COLLECTED, *cli.options(), "run", "health")
    assert (code, collected) == (0, 0)
    assert last < first / 5  # a run of days holds little garbage


def test_log_lines_do_not_wait_for_the_first_answer(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = cli.start("--base-url", address, "run", "health")
        assert running.process.stderr is not None
        assert json.loads(running.process.stderr.readline())["event"] == "run.started"
        running.process.kill()
        running.process.communicate()


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


@pytest.mark.parametrize("module", ["runner.cli", "pydantic", "runner.engine.run", "httpx"])
def test_a_signal_in_the_middle_of_the_start_is_obeyed_with_a_report_and_no_trigger(
    cli_with: MakeCommandLine, tmp_path: Path, module: str
) -> None:
    cli = cli_with(mfa="none")
    ended = cli.run("run", "health", "workouts", **_killed_at(module, tmp_path))
    assert ended.code == 143
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["interrupted", "interrupted"]
    assert ended.events("run.interrupted")[0]["signal"] == "SIGTERM"
    assert cli.jobs() == []


def test_a_command_that_leaves_nothing_behind_ends_at_once(cli_with: MakeCommandLine, tmp_path: Path) -> None:
    cli = cli_with(mfa="none")
    ended = cli.run("check", **_killed_at("pydantic", tmp_path))
    assert (ended.code, ended.stdout) == (143, "")
    assert cli.record()["requests"] == []


def test_a_signal_that_a_parent_held_back_is_obeyed(cli_with: MakeCommandLine, tmp_path: Path) -> None:
    """As `env --block-signal=TERM` does for PID 1, which would lose a signal before it has a handler."""
    cli = cli_with(mfa="none")
    held = [sys.executable, "-c", _HELD_BACK, sys.executable, "-m", "runner", *cli.options(), "run", "health"]
    done = subprocess.run(held, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 143
    assert "Traceback" not in done.stderr
    assert cli.jobs() == []


_HELD_BACK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_second_signal_in_the_start_ends_the_process_at_once(tmp_path: Path) -> None:
    program = "import os, signal\nfrom runner.engine import signals\nsignals.listen()\n"
    program += "os.kill(os.getpid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGTERM)\nprint('goes on')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_a_resolver_that_hangs_holds_up_neither_the_deadline_nor_the_end(
    cli_with: MakeCommandLine, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *words, **more: time.sleep(600)\n"
    )
    cli = cli_with(mfa="none")
    began = time.monotonic()
    ended = cli.run(
        "run", "health", "--base-url", "https://no-such-host.invalid", "--set", "deadline.run=1s",
        PYTHONPATH=f"{tmp_path}:{Path.cwd()}",
    )  # fmt: skip
    assert ended.code == 6
    assert time.monotonic() - began < 60.0


def test_names_are_looked_up_and_a_failure_is_the_systems_own() -> None:
    import asyncio

    async def poll(name: str) -> object:
        return await asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM)

    assert ("127.0.0.1", 80) in [one[4] for one in complete(poll("localhost"))]  # type: ignore[attr-defined]
    with pytest.raises(socket.gaierror):
        complete(poll("no-such-host.invalid"))


def test_a_ledger_that_stays_locked_ends_the_run_before_anything_is_sent(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    open_ledger(cli.state).close()
    descriptor = open_lock(cli.state / "ledger.lock")
    try:
        assert try_lock(descriptor)
        ended = cli.run("run", "health", "--set", "deadline.run=1s")
    finally:
        os.close(descriptor)
    assert ended.code == 2
    assert "another process holds the ledger" in ended.errors
    assert cli.record()["requests"] == []


@pytest.mark.parametrize("place", ["theirs", "ours"])
def test_the_command_passes_over_a_module_of_others_with_the_packages_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "runner.py").write_text("raise SystemExit('theirs')")
    found = {"theirs": tmp_path, "ours": Path(runner.__file__).parents[1]}[place]
    command = Path(sys.executable).with_name("sync-runner")
    ended = subprocess.run([command, "--version"], env={"PYTHONPATH": str(found)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"sync-runner {runner.__version__}\n", "")
