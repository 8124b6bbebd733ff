"""A text stream whose writer never waits: a thread writes the text; unread text is dropped and counted."""
# Decision 0091.

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TextIO

HELD_BYTES = 4 << 20  # maximum text that waits for a reader: about 15,000 log lines
CHUNK = 4096  # bytes per write: a pipe accepts this many as a whole (PIPE_BUF), and a slow reader still shows progress


class QueuedStream:
    """Passes text to `stream`, in order, for a reader that may be slow or gone. The text contains no secrets.

    A text without room is dropped as a whole. `on_dropped` returns the line that reports how many lines were dropped; it is
    written as soon as there is room again.
    """

    def __init__(self, stream: TextIO, held_bytes: int = HELD_BYTES) -> None:
        """Starts nothing before the first text."""
        self._stream = stream
        self._held_bytes = held_bytes
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._writing = False
        self._broken = False
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._written = 0
        self.on_dropped: Callable[[int], str] = lambda count: f"{count} lines dropped: no reader\n"

    def write(self, text: str) -> int:
        """Accepts `text`, or drops it where there is no room. Returns immediately."""
        with self._changed:
            room = self._waiting_bytes + len(text) <= self._held_bytes
            if self._broken or not text:
                return len(text)
            if not room and self._waiting:
                self._dropped += max(1, text.count("\n"))
                return len(text)
            self._tell_dropped()
            self._put(text)
        return len(text)

    def _tell_dropped(self) -> None:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._put(self.on_dropped(count))

    def _put(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._thread is None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()  # earlier text of the underlying stream comes first
            self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        send = self._sender()
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()
                text = "".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                self._writing = True
            try:
                send(text)
            except (
                OSError,
                ValueError,
            ):  # closed, a full disk, no reader: the run has priority over its output
                with self._changed:
                    self._broken, self._writing = True, False
                    self._waiting.clear()
                    self._changed.notify_all()
                return

    def _sender(self) -> Callable[[str], None]:
        """Returns the writing function. Bypasses Python's buffers where there is a descriptor: Python waits for their
        locks at exit."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            return self._send_text
        return lambda text: self._send_bytes(descriptor, text.encode(self.encoding, errors="replace"))

    def _send_text(self, text: str) -> None:
        self._stream.write(text.encode(errors="replace").decode())  # lone surrogates of an API
        self._stream.flush()
        self._written += len(text)

    def _send_bytes(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = os.write(descriptor, view[:CHUNK])
            except BlockingIOError:  # another process set the descriptor to non-blocking
                select.select([], [descriptor], [])
                continue
            self._written += count
            view = view[count:]

    @property
    def pending(self) -> bool:
        """Whether text waits for the reader. Takes no lock: a signal handler may call it."""
        return not self._broken and (self._writing or bool(self._waiting))

    @property
    def broken(self) -> bool:
        """Whether the stream accepts no more text: it is closed, or its reader is gone."""
        return self._broken

    def drain(self, seconds: float, patience: float) -> bool:
        """Waits until everything is written, at most `seconds`, and at most `patience` (seconds) without a read byte.

        Returns whether everything was written.
        """
        with self._changed:
            if not self._broken:
                self._tell_dropped()
        now = time.monotonic()
        end, seen, stalled = now + seconds, self._written, now + patience
        with self._changed:
            while self.pending and now < min(end, stalled):
                self._changed.wait(min(end, stalled, now + 0.05) - now)
                now = time.monotonic()
                if self._written != seen:
                    seen, stalled = self._written, now + patience
        return not self.pending and not self._broken

    def last_words(self, seconds: float) -> None:
        """Waits a moment for the thread before the process exits. Takes no lock: a signal handler may call it."""
        end = time.monotonic() + seconds
        while self.pending and time.monotonic() < end:
            time.sleep(0.002)

    def flush(self) -> None:
        """Does nothing: text is written as fast as it is read."""

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding or "utf-8"

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stream.closed
