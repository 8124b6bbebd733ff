"""Nothing that a run writes to can hold it up: streams that nobody reads, pipes in the place of files, closed streams.

A broken promise shows as a process that does not end; how long it may take is measured by the campaigns.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.outputs.conftest import Runner, settings, until
from tests.integration.outputs.test_metrics_out import silent_server

HANGS = 60  # seconds


def full_pipe() -> tuple[int, int]:
    """A pipe that is full, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 65536):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


@pytest.fixture
def nobody() -> Iterator[int]:
    """Where nobody reads."""
    reading, writing = full_pipe()
    yield writing
    os.close(reading)
    os.close(writing)


def triggered(runner: Runner) -> None:
    """Wait until a job runs."""
    until(
        lambda: any(one["endpoint"] == "trigger" for one in list(runner.server.sandbox.record)) or None,
        "job",
    )


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def stalling(path: Path) -> list[str]:
    """Every file that a run writes, as a pipe that nobody reads."""
    names = ("report__file", "report__junit", "report__html", "report__termination_log")
    files: dict[str, Any] = {name: fifo(path / name) for name in names}
    return settings(**files, metrics__textfile=fifo(path / "out.prom"))


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
@pytest.mark.parametrize("ended_by", ["deadline", "SIGTERM"])
def test_a_stream_that_nobody_reads_holds_up_neither_the_deadline_nor_a_signal(
    runner: Runner, tmp_path: Path, nobody: int, stream: str, ended_by: str
) -> None:
    runner.fault(kind="job_stalls", times=-1)
    report = tmp_path / "report.json"
    words = ["run", "health", "-v", *settings(poll__max="50ms", report__file="-" if stream == "stdout" else report)]
    words += settings(report__junit=tmp_path / "junit.xml")
    words += settings(deadline__run="3s") if ended_by == "deadline" else []
    other = "stdout" if stream == "stderr" else "stderr"
    with runner.start(*words, **{stream: nobody, other: subprocess.DEVNULL}) as process:
        if ended_by == "SIGTERM":
            triggered(runner)
            process.send_signal(signal.SIGTERM)
        process.wait(HANGS)
    assert process.returncode == (6 if ended_by == "deadline" else 143)
    assert "testsuites" in (tmp_path / "junit.xml").read_text()
    if stream == "stderr":
        assert json.loads(report.read_text())["exit_code"] == process.returncode


@pytest.mark.parametrize("ended_by", ["deadline", "SIGTERM", "its end"])
def test_pipes_in_the_place_of_files_hold_up_nothing_and_each_is_told(
    runner: Runner, tmp_path: Path, ended_by: str
) -> None:
    if ended_by != "its end":
        runner.fault(kind="job_stalls", times=-1)
    words = ["run", "health", *stalling(tmp_path), *(settings(deadline__run="3s") if ended_by == "deadline" else [])]
    runner.environment |= {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(fifo(tmp_path / "github"))}
    with runner.start(*words) as process:
        if ended_by == "SIGTERM":
            triggered(runner)
            process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=HANGS)
    assert process.returncode == {"deadline": 6, "SIGTERM": 143, "its end": 0}[ended_by]
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    failed = {line["target"] for line in told if line["event"] == "emit.failed" and "no reader" in line["error"]}
    assert failed == {"report", "junit", "html", "termination log", "textfile", "github"}


def test_reports_are_written_before_anything_is_pushed(runner: Runner, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with silent_server() as url:
        words = settings(report__file=report, metrics__pushgateway__url=url, metrics__pushgateway__timeout="30s")
        with runner.start("run", "health", *words) as process:
            until(lambda: report.read_text() if report.exists() else None, "report while the push still waits")
            assert process.poll() is None
            process.kill()
            process.communicate()


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_a_run_goes_on_without_its_streams(runner: Runner, tmp_path: Path, closed: str, code: int) -> None:
    report = tmp_path / "report.json"
    command = runner.command("run", "health", *settings(report__file=report, state__dir=tmp_path / "state"))
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command], env=runner.env, capture_output=True, timeout=HANGS
    )
    assert done.returncode == code
    assert json.loads(report.read_text())["exit_code"] == code


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_on_a_full_disk_changes_no_exit_code(runner: Runner, stream: str) -> None:
    with (
        Path("/dev/full").open("w") as full,
        runner.start("run", "health", "--report", "-", **{stream: full}) as process,
    ):
        process.communicate(timeout=HANGS)
    assert process.returncode == 0


def test_a_reader_that_comes_late_gets_the_whole_report(runner: Runner) -> None:
    """As in `sync-runner run --report - | (sleep 2; jq .)`, with a report larger than a pipe."""
    syncs = json.dumps([{"type": "health", "name": f"{number}-{'x' * 200}"} for number in range(150)])
    runner.fault(kind="status", endpoint="trigger", status=422, times=-1)
    reading, writing = os.pipe()
    with runner.start(
        "run", *settings(syncs=syncs), "--report", "-", stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        assert process.stderr is not None
        next(line for line in process.stderr if '"run.ended"' in line)
        with os.fdopen(reading) as reader:
            report = json.loads(reader.read())
        process.communicate(timeout=HANGS)
    assert len(report["syncs"]) == 150


def test_a_second_signal_still_shows_what_was_logged(runner: Runner) -> None:
    runner.fault(kind="job_stalls", times=-1)
    runner.fault(kind="latency", endpoint="cancel", seconds=30.0, times=-1)
    with runner.start("run", "health") as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        next(line for line in lines if '"sync.triggered"' in line)
        process.send_signal(signal.SIGTERM)
        next(line for line in lines if '"run.interrupted"' in line)
        process.send_signal(signal.SIGINT)
        assert process.wait(HANGS) in (130, 143)


def test_a_device_is_written_into_and_standard_output_is_the_stream(runner: Runner, tmp_path: Path) -> None:
    done = runner.run("run", "health", "--report", "/dev/null")
    assert (done.code, done.events("emit.failed")) == (0, []) and Path("/dev/null").is_char_device()
    done = runner.run("run", "health", "--report", "/dev/stdout")
    assert json.loads(done.out)["exit_code"] == 0
    kept = tmp_path / "kept"
    kept.write_text("before\n")
    with kept.open("a") as stream:
        process = runner.start("run", "health", "--report", "/dev/stdout", stdout=stream)
        process.communicate(timeout=HANGS)
    first, _newline, report = kept.read_text().partition("\n")
    assert first == "before" and json.loads(report)["exit_code"] == 0


@pytest.mark.parametrize("words", [["run", "--help"], ["run", "health", "--dry-run"], ["config", "init"]], ids=" ".join)
def test_a_command_that_prints_ends_by_a_signal_though_nobody_reads(runner: Runner, words: list[str]) -> None:
    reader, writer = full_pipe()
    process = subprocess.Popen(runner.command(*words), env=runner.env, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.wait()
        os.close(reader)
