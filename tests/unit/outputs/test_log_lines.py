"""Which events become log lines, and what a line holds."""

import json

import pytest

from runner.events import events
from runner.events.observer import Record
from runner.outputs.console import Console
from runner.outputs.log_lines import Filter
from runner.settings import LogSettings
from tests.support.outputs import Kept, json_log


def progress(at: float, percent: float, status: str = "running", sync: str = "health") -> Record:
    return Record(at, events.SyncProgress("job-1", status, percent), {"account": "a", "sync": sync})


def shown(log: LogSettings, records: list[Record]) -> list[tuple[float, float]]:
    wanted = Filter(log)
    passed = [record for record in records if wanted.passes(record, progress=True)]
    return [
        (record.time, record.event.progress or 0.0)
        for record in passed
        if isinstance(record.event, events.SyncProgress)
    ]


def test_progress_is_logged_each_time_it_grew_by_a_step() -> None:
    records = [progress(0.01 * number, float(number)) for number in range(101)]
    assert [percent for _at, percent in shown(LogSettings(progress_step=25), records)] == [0.0, 25.0, 50.0, 75.0, 100.0]


def test_progress_that_stalls_is_logged_from_time_to_time() -> None:
    records = [progress(0.25 * number, 50.0) for number in range(401)]
    assert [at for at, _percent in shown(LogSettings(progress_every=30.0), records)] == [0.0, 30.0, 60.0, 90.0]


def test_a_new_state_is_logged_at_once_and_each_sync_counts_alone() -> None:
    records = [progress(0, 0, "pending"), progress(0.1, 0), progress(0.2, 0), progress(0.3, 0, sync="other")]
    assert [at for at, _percent in shown(LogSettings(), records)] == [0, 0.1, 0.3]


@pytest.mark.parametrize(("level", "lines"), [("info", 3), ("warning", 2), ("error", 1)])
def test_quiet_logs_show_what_did_not_complete(level: str, lines: int) -> None:
    written: list[str] = []
    log = json_log(written.append, level=level)
    for result in ("completed", "skipped", "failed"):
        log.take(Record(0.0, events.SyncEnded(result, 1.0, 1, error="why", remedy="what now"), {"sync": "health"}))
    assert len(written) == lines
    last = json.loads(written[-1])
    assert (last["level"], last["error"], last["remedy"]) == ("error", "why", "what now")


COMMANDS = "##vso[task.setvariable variable=x]y \n::error::x ##teamcity[x] ##[error]x \x1b[0Ksection_start:1:x\r"


def test_no_log_line_is_a_command_of_a_ci_system() -> None:
    written: list[str] = []
    json_log(written.append).take(Record(0.0, events.RunFailed(2, COMMANDS), {}))
    assert "##" not in written[0] and "\x1b" not in written[0] and written[0].count("\n") == 1
    assert json.loads(written[0])["error"] == COMMANDS  # another way to write the same
    kept = Kept({"log": {"format": "console"}})
    console = Console(kept.context)
    console.open()
    console.take(Record(0.0, events.RunFailed(2, COMMANDS), {"account": COMMANDS}))
    kept.drain()
    line = kept.err.getvalue()
    assert "##vso" not in line and "##teamcity" not in line and "##[" not in line
    assert "\x1b" not in line and "\r" not in line and line.count("\n") == 1


def test_dropped_lines_are_told_in_the_logs_own_form() -> None:
    kept = Kept({"log": {"format": "json"}})
    log = json_log(lambda _text: None)
    log.context = kept.context
    log.open()
    told = json.loads(kept.context.stderr.on_dropped(7))
    assert (told["event"], told["level"], told["lines"]) == ("log.dropped", "warning", 7)
