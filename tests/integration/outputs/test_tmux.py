"""The live view in a terminal that people use: tmux, at 80 and 40 columns, resized while it draws, ended with Ctrl-C."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.outputs.conftest import Runner, need, until


class Tmux:
    """A tmux server of its own, with one window."""

    def __init__(self, directory: Path) -> None:
        self._begin = [need("tmux"), "-S", str(directory / "tmux"), "-f", "/dev/null"]

    def __call__(self, *words: str) -> str:
        """One tmux command."""
        return subprocess.run([*self._begin, *words], capture_output=True, text=True, check=True).stdout

    def begin(self, command: str, columns: int) -> None:
        """Start the command in a shell's place, in a window that wide; it stays when the command has ended."""
        self("new-session", "-d", "-x", str(columns), "-y", "20", command, ";", "set-option", "remain-on-exit", "on")

    @property
    def rows(self) -> list[str]:
        """What is on the screen."""
        return self("capture-pane", "-p").splitlines()

    def row(self, pattern: str) -> str:
        """The first line that looks so, once there is one."""
        try:
            return until(lambda: next((row for row in self.rows if re.search(pattern, row)), None), f"line {pattern}")
        except AssertionError:
            raise AssertionError("\n".join([f"no line {pattern} on this screen:", *self.rows])) from None


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    made = Tmux(tmp_path)
    yield made
    made("kill-server")


def bars(tmux: Tmux) -> list[str]:
    """The lines of the live view."""
    return [row for row in tmux.rows if "━" in row]


def test_the_view_fits_80_and_40_columns_follows_a_resize_and_leaves_a_clean_screen(
    runner: Runner, tmux: Tmux, tmp_path: Path
) -> None:
    runner.fault(kind="job_stalls", sync_type="health")
    words = runner.command("run", "activities", "health", "--log-format", "auto", "--set", "poll.max=1s")
    redact = [f"{name}={value}" for name, value in runner.env.items() if name in ("PATH", "HOME", "LANG", "LC_ALL")]
    command = shlex.join(["env", "-i", "TERM=screen-256color", "LANG=C.UTF-8", *redact, *words])
    code = tmp_path / "code"  # tmux at times forgets how a command ended
    tmux.begin(f"trap : INT; {command}; echo $? > {code}", 80)
    tmux.row(r"^activities +━+ +100% +140/140 +completed +\d:\d\d +[\d.]+/s *$")
    tmux.row(r"^health +━+[╸╺]?━* +50% +183/365 +running +\d:\d\d +[\d.]+/s +-\d:\d\d *$")
    assert len(bars(tmux)) == 2

    tmux("resize-window", "-x", "40")
    tmux.row(r"^▸ health +━+[╸╺]?━* +50% \d:\d\d$")
    tmux("resize-window", "-x", "80")
    tmux.row(r"^health +━+.* running +\d:\d\d +[\d.]+/s +-\d:\d\d *$")

    tmux("send-keys", "C-c")
    tmux.row(r"^health .* interrupted ")
    assert until(lambda: (code.exists() and code.read_text().strip()) or None, "end of the run") == "130"
    ended = bars(tmux)
    assert [row.split()[0] for row in ended[-2:]] == ["activities", "health"]


def test_at_40_columns_from_the_start_no_line_is_wrapped(runner: Runner, tmux: Tmux) -> None:
    runner.fault(kind="job_stalls", sync_type="health")
    words = runner.command("run", "activities", "health", "--log-level", "error", "--log-format", "auto")
    stale = "COLUMNS=80"  # as a shell exports it that began in a wider window
    tmux.begin(shlex.join(["env", "TERM=screen-256color", "LANG=C.UTF-8", "NO_COLOR=1", stale, *words]), 40)
    tmux.row(r"^✓ activities +━+ +100% \d:\d\d$")
    tmux.row(r"^▸ health +━+[╸╺]?━* +50% \d:\d\d$")
    assert len(bars(tmux)) == len([row for row in tmux.rows if row.strip()]) == 2
    assert "\x1b[3" not in tmux("capture-pane", "-p", "-e")  # NO_COLOR
