"""The first moments of the process: what is loaded when, and signals meanwhile."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.command_line import Desk

LATE = {"structlog", "rich", "prometheus_client", "tenacity", "pyotp"}  # not before the first request has left
NEVER = {
    "rich.progress", "rich.live", "jmespath", "starlette", "uvicorn", "argon2", "jwt", "jsonschema", "cryptography",
}  # fmt: skip

# Runs the command line; prints its code and the names of the modules loaded when a request first left, and at the end.
LOADED = """
import json, sys
from runner.api.client import Client
from runner.cli import run
trace, seen = Client._trace, []
async def note(self, event, details):
    if event.endswith("send_request_body.complete"):
        seen.append(sorted(sys.modules))
    await trace(self, event, details)
Client._trace = note
code = run(sys.argv[1:])
print(json.dumps([code, seen[0], sorted(sys.modules)]))
"""


def modules(script: str, *words: str) -> Any:
    """What the script printed as JSON, in a process of its own."""
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_what_the_first_request_does_not_need_is_loaded_after_it_has_left(desk: Desk) -> None:
    assert desk.run("login").code == 0
    words = [*desk.options(), "--set", f"metrics.textfile={desk.home / 'run.prom'}", "run", "health"]
    code, first, last = modules(LOADED, *words)
    assert code == 0
    # Where click is installed too (uvicorn brings it), httpx itself loads rich for a command line of its own.
    httpx_loads = {*modules("import httpx, json, sys; print(json.dumps(sorted(sys.modules)))")}
    assert sorted((LATE | NEVER) & {*first} - httpx_loads) == []
    assert sorted(NEVER & {*last} - httpx_loads) == []
    assert {"structlog", "prometheus_client"} <= {*last}


def test_what_nobody_asked_for_is_never_loaded(desk: Desk) -> None:
    assert desk.run("login").code == 0
    _code, _first, last = modules(LOADED, *desk.options(), "run", "health")
    assert sorted({"prometheus_client", "pyotp", "tenacity"} & {*last}) == []


def test_log_lines_do_not_wait_for_the_first_answer(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = desk.start("--base-url", address, "run", "health")
        assert running.process.stderr is not None
        assert json.loads(running.process.stderr.readline())["event"] == "run.started"
        running.process.kill()
        running.process.communicate()


def test_a_signal_in_the_middle_of_an_import_leaves_no_traceback(tmp_path: Path) -> None:
    """pydantic's compiled core answers an exception inside its import with another one; this module does so too."""
    (tmp_path / "interrupted.py").write_text(
        """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGTERM)
except BaseException as error:
    raise ImportError("no way to import this") from error
"""
    )
    start = "import runner.cli as cli, runner.__main__ as start; cli.run = lambda words: __import__('interrupted'); "
    surroundings = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", f"{start} start.main()"], capture_output=True, text=True, check=False, env=surroundings
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
