"""The live view alone: what it leaves on a screen while log lines come in as it draws."""

import io
import re
import sys
from collections.abc import Iterator

import pyte
import pytest

from runner.events import events
from runner.events.observer import Record
from runner.outputs.progress import Progress
from tests.support.outputs import Kept

SYNCS, LINES = 10, 200


class Screen(io.StringIO):
    """A terminal of 80 columns that keeps all that was ever written, as high as all of it needs."""

    def isatty(self) -> bool:
        return True

    @property
    def rows(self) -> list[str]:
        screen = pyte.Screen(80, LINES + SYNCS + 10)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return [row.rstrip() for row in screen.display if row.strip()]


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_log_lines_that_come_in_while_it_draws_leave_every_line_once(
    switching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("runner.outputs.progress.FRAMES", 10_000)
    screen = Screen()
    kept = Kept(stderr=screen, environment={"TERM": "xterm-256color"})
    progress = Progress(kept.context)
    progress.open()
    for number in range(LINES):
        sync, after = divmod(number, LINES // SYNCS)
        if after == 0:
            progress.take(Record(0.0, events.SyncStarted(), {"sync": f"sync-{sync:02}"}))
        progress.write_line(f"line {number:03}\n")
    progress.close()
    kept.drain()
    rows = screen.rows
    assert [row for row in rows if row.startswith("line")] == [f"line {number:03}" for number in range(LINES)]
    bars = [row.split()[0] for row in rows if "━" in row]
    assert bars == [f"sync-{number:02}" for number in range(SYNCS)]
    assert not [row for row in rows if not re.match(r"line|sync", row)]
