"""What a test sees of a command line that was forked is what it sees of one that Python started."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import forked
from tests.support.command_line import CommandLine

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SYNC_RUNNER_")}
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def _fresh(words: list[str], env: dict[str, str], **more: Any) -> "subprocess.Popen[Any]":
    return subprocess.Popen([sys.executable, "-m", "runner", *words], env=env, **more)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--version"], {}),
        (["no-such-command"], {}),
        (["config", "show"], {"SYNC_RUNNER_BASE_URL": "https://api.example.org", "SYNC_RUNNER_CONFIG": "here.yaml"}),
        (["status"], {"SYNC_RUNNER_STATE__DIR": "state"}),
    ],
)
def test_it_prints_the_same_and_ends_the_same(tmp_path: Path, words: list[str], environment: dict[str, str]) -> None:
    (tmp_path / "here.yaml").write_text("poll: {max: 7s}\n")
    ended = []
    for begin in (forked.start, _fresh):
        process = begin(words, {**CLEAN, **environment}, cwd=tmp_path, **PIPES)
        out, err = process.communicate(timeout=180)
        ended.append((out, re.sub('"timestamp": "[^"]*"', "", err), process.returncode))
    assert ended[0] == ended[1]
    assert ended[0][0] or ended[0][1]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_ends_it_the_same(stream: str) -> None:
    ended = []
    for begin in (forked.start, _fresh):
        with Path("/dev/full").open("w") as full, begin(["--version"], CLEAN, **PIPES | {stream: full}) as process:
            ended.append((*process.communicate(timeout=180), process.returncode))
    assert ended[0] == ended[1]


def test_it_is_a_child_of_the_test_that_signals_end(cli: CommandLine) -> None:
    running = cli.start("run", "health", "--set", "poll.min=60s", "--set", "poll.max=60s")
    assert running.process.stderr is not None
    running.process.stderr.readline()
    parent = next(
        line for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines() if line.startswith("PPid")
    )
    assert parent.split()[1] == str(os.getpid())
    running.process.send_signal(signal.SIGKILL)
    running.process.communicate()
    assert running.process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{running.process.pid}").exists()


def test_what_its_parent_ignores_it_ignores_and_the_next_one_does_not(cli: CommandLine) -> None:
    ignored = []
    before = signal.getsignal(signal.SIGHUP)
    try:
        for disposition in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, disposition)
            running = cli.start("run", "health", "--set", "poll.min=60s", "--set", "poll.max=60s")
            assert running.process.stderr is not None
            running.process.stderr.readline()
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            ignored.append(int(re.findall(r"^SigIgn:\s+(\w+)", status, re.MULTILINE)[0], 16) & 1)  # SIGHUP is bit 0
            running.process.kill()
            running.process.communicate()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ignored == [1, 0]


def test_what_belongs_to_the_start_of_python_starts_python(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; print('started', file=sys.stderr)\n")
    process = forked.start(["--version"], {**CLEAN, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}, **PIPES)
    assert process.communicate(timeout=180)[1] == "started\n"
