"""Nobody who writes waits for a reader: real pipes, read late, slowly or never."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

import pytest

from runner.outputs.stream import QueuedStream

MUCH = 1 << 20  # bytes: far more than a pipe holds


@dataclass
class Pipe:
    """A pipe whose reader reads when it is told to."""

    reading: int
    writing: TextIO

    def fill(self) -> None:
        """Until not a byte more goes in: how much the runner's thread gets to write does not matter then."""
        descriptor = self.writing.fileno()
        os.set_blocking(descriptor, False)
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(descriptor, b"." * size)
        os.set_blocking(descriptor, True)

    def read_all(self) -> str:
        """To its end, on this thread: the writing end must be closed by then."""
        with os.fdopen(self.reading, encoding="utf-8") as reader:
            return reader.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield Pipe(reading, stream)


def test_every_line_comes_whole_and_in_order_where_somebody_reads(pipe: Pipe) -> None:
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_all()))
    reader.start()
    stream = QueuedStream(pipe.writing)
    lines = [f"line {number} {'x' * (number % 300)}\n" for number in range(20_000)]
    for line in lines:
        while stream.pending and not stream.drain(30, 30):
            pass
        stream.write(line)
    assert stream.drain(60, 60)
    pipe.writing.close()
    reader.join(60)
    assert read == ["".join(lines)]


def test_a_reader_that_never_reads_holds_up_nobody_and_what_is_held_is_bounded(pipe: Pipe) -> None:
    pipe.fill()
    stream = QueuedStream(pipe.writing, held_bytes=10_000)
    for number in range(100_000):
        stream.write(f"line {number}\n")
    assert stream.pending and not stream.drain(0.05, 0.05)
    held = sum(map(len, stream._waiting))
    assert held < 20_000
    os.close(pipe.reading)


def test_a_reader_that_is_back_is_told_how_many_lines_it_missed_where_they_are_missing(pipe: Pipe) -> None:
    stream = QueuedStream(pipe.writing, held_bytes=10_000)
    stream.on_dropped = lambda count: f"dropped {count}\n"
    total = 50_000
    for number in range(total):
        stream.write(f"{number}\n")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_all()))
    reader.start()
    assert stream.drain(60, 60)
    stream.write("after\n")
    assert stream.drain(60, 60)
    pipe.writing.close()
    reader.join(60)
    at = 0
    *lines, last = read[0].splitlines()
    assert last == "after" and any(line.startswith("dropped") for line in lines)
    for line in lines:  # every line stands in its place, or is counted where it is missing
        if line.startswith("dropped"):
            at += int(line.split()[1])
        else:
            assert line == str(at)
            at += 1
    assert at == total


def test_one_text_larger_than_the_bound_goes_out_whole_where_nothing_waits(pipe: Pipe) -> None:
    stream = QueuedStream(pipe.writing, held_bytes=10)
    stream.write("x" * MUCH)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_all()))
    reader.start()
    assert stream.drain(60, 60)
    pipe.writing.close()
    reader.join(60)
    assert read == ["x" * MUCH]


def test_a_reader_that_has_gone_ends_the_writing_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.reading)
    stream = QueuedStream(pipe.writing)
    for _ in range(3):
        stream.write("x\n")
        stream.drain(30, 30)
    assert stream.broken and not stream.pending
    with pytest.raises(BrokenPipeError):
        os.write(pipe.writing.fileno(), b"x")  # and so nobody else was asked


def test_what_utf8_cannot_hold_is_written_with_a_mark() -> None:
    kept = io.StringIO()
    stream = QueuedStream(kept)
    stream.write("a \ud800 b\n")
    assert stream.drain(30, 30)
    assert kept.getvalue() == "a ? b\n"


def test_a_process_that_ends_while_nobody_reads_ends_with_its_own_code(tmp_path: object) -> None:
    """Past Python's buffers: at the end of the interpreter their locks would be waited for."""
    import subprocess

    script = (
        "import sys; from runner.outputs.stream import QueuedStream; stream = QueuedStream(sys.stderr);"
        "[stream.write('x' * 1000 + chr(10)) for _ in range(1000)]; stream.drain(0.1, 0.1); sys.exit(7)"
    )
    reading, writing = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", script], stderr=writing, timeout=180, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 7
