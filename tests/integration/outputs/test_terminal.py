"""What a person at a terminal sees: the real command on a pseudo-terminal, its screen kept by a terminal emulator."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyte
import pytest

from tests.integration.outputs.conftest import Runner, until

COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9;]*)?m")


class Terminal:
    """A terminal of some size with a process in it."""

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.master, self.slave = os.openpty()
        self.raw = ""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.resize(columns, lines)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int = 24) -> None:
        """As when a person drags the window."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._screen.reset()
            fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                return
            with self._lock:
                self._stream.feed(chunk)
                self.raw += chunk.decode(errors="replace")

    @property
    def rows(self) -> list[str]:
        """The lines on the screen."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def row(self, pattern: str) -> "re.Match[str]":
        """The first line that looks so, once there is one."""
        return until(lambda: next((m for row in self.rows if (m := re.search(pattern, row))), None), f"line {pattern}")

    def close(self) -> None:
        """Read what is left, and end."""
        os.close(self.slave)
        self._reader.join(10)
        os.close(self.master)


@contextmanager
def at(runner: Runner, columns: int, *words: str, **more: Any) -> Iterator[tuple[Terminal, "subprocess.Popen[str]"]]:
    """The command at a terminal that wide, ended at the latest when the block ends."""
    terminal = Terminal(columns)
    runner.environment |= {"TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **runner.environment}
    streams = {"stdin": terminal.slave, "stdout": terminal.slave, "stderr": terminal.slave, **more}
    process = runner.start(*words, **streams)
    try:
        yield terminal, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        terminal.close()


AUTO = ("--log-format", "auto")


def test_the_live_view_shows_bar_items_state_elapsed_rate_and_time_left_and_follows_a_resize(runner: Runner) -> None:
    runner.fault(kind="job_stalls", sync_type="health")
    with at(runner, 80, "run", "activities", "health", *AUTO, "--set", "poll.max=1s") as (terminal, process):
        terminal.row(r"^activities +━+ +100% +140/140 +completed +\d:\d\d +[\d.]+/s$")
        seen = terminal.row(r"^health +(━+)[╸╺]?━* +50% +183/365 +running +\d:\d\d +[\d.]+/s +-\d:\d\d$")
        assert len(seen[1]) > 5
        terminal.resize(40)
        terminal.row(r"^▸ health +━+[╸╺]?━* +50% \d:\d\d$")
        terminal.resize(24)
        terminal.row(r"^▸ health +50%$")
        terminal.resize(100)
        terminal.row(r"^health +━+.* running +\d:\d\d +[\d.]+/s +-\d:\d\d$")
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        terminal.row(r"^health .* interrupted ")
    assert process.returncode == 143
    assert "sync.progress" not in terminal.raw  # the bars show it
    assert terminal.raw.rfind("\x1b[?25h") > terminal.raw.rfind("\x1b[?25l")  # the cursor is given back


@pytest.mark.parametrize("columns", [80, 40])
def test_no_line_of_the_bars_is_wider_than_the_terminal(runner: Runner, columns: int) -> None:
    runner.fault(kind="job_stalls", sync_type="health")
    name = "a-sync-with-a-name-that-no-terminal-likes"
    syncs = json.dumps([{"type": "activities"}, {"type": "health", "name": name}])
    with at(runner, columns, "run", *AUTO, "--set", f"syncs={syncs}") as (terminal, _process):
        terminal.row(r"a-sync\S*~\S*likes .*50% ")
        rows = [row for row in terminal.rows if "━" in row]
        assert len(rows) == 2 and max(map(len, rows)) <= columns


def test_no_color_is_obeyed(runner: Runner) -> None:
    for value, coloured in (("", True), ("1", False)):
        runner.environment["NO_COLOR"] = value
        with at(runner, 80, "run", "health", *AUTO) as (terminal, process):
            process.wait(30)
        assert "━" in terminal.raw and "sync.ended" in terminal.raw
        assert bool(COLOUR.search(terminal.raw)) is coloured


def test_a_dumb_terminal_gets_plain_lines(runner: Runner) -> None:
    runner.environment["TERM"] = "dumb"
    with at(runner, 80, "run", "health", *AUTO) as (terminal, process):
        process.wait(30)
    assert "sync.ended" in terminal.raw and "\x1b" not in terminal.raw


def test_quiet_says_nothing_of_a_good_run_and_verbose_tells_each_request(runner: Runner) -> None:
    with at(runner, 80, "run", "health", "-q", *AUTO) as (terminal, process):
        process.wait(30)
    assert (process.returncode, terminal.raw) == (0, "")
    with at(runner, 200, "run", "health", "-v", *AUTO) as (terminal, process):
        process.wait(30)
    assert "http.request" in terminal.raw and "sync.progress" in terminal.raw


def test_json_at_a_terminal_is_json_and_nothing_else(runner: Runner) -> None:
    with at(runner, 500, "run", "health", "--log-format", "json") as (terminal, process):
        process.wait(30)
    lines = [json.loads(line) for line in terminal.raw.splitlines()]
    assert [line["event"] for line in lines][-1] == "run.ended"


def test_the_report_goes_to_standard_output_while_bars_are_on_the_terminal(runner: Runner) -> None:
    with at(runner, 80, "run", "health", "--report", "-", *AUTO, stdout=subprocess.PIPE) as (terminal, process):
        out, _ = process.communicate(timeout=180)
    assert json.loads(out)["exit_code"] == 0
    assert "report_version" not in terminal.raw and "━" in terminal.raw
