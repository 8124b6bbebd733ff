"""A text stream whose writer never waits: a thread passes the text on, and what nobody reads is dropped and counted."""
# Decision 0091.

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TextIO

HELD_BYTES = 4 << 20  # what waits for a reader at most: some 15,000 log lines
CHUNK = 4096  # bytes a write: a pipe that takes so many takes them whole (PIPE_BUF), and progress shows on a slow one


class QueuedStream:
    """Text for `stream`, in order, for a reader that may be slow or gone. Text that is written holds no secret any more.

    A text that finds no room is dropped whole. `on_dropped` makes the line that tells how many lines were dropped; it is
    written as soon as there is room again.
    """

    def __init__(self, stream: TextIO, held_bytes: int = HELD_BYTES) -> None:
        """Nothing is started before the first text."""
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
        self.on_dropped: Callable[[int], str] = lambda count: f"{count} lines dropped: nobody read them\n"

    def write(self, text: str) -> int:
        """Take `text`, or drop it where there is no room. Returns at once."""
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
                self._stream.flush()  # what was written before this stream took over comes first
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
            ):  # closed, a full disk, the reader has gone: the run matters more than its output
                with self._changed:
                    self._broken, self._writing = True, False
                    self._waiting.clear()
                    self._changed.notify_all()
                return

    def _sender(self) -> Callable[[str], None]:
        """What puts text out. Past the buffers where there is a descriptor: at its end, Python waits for their locks."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            return self._send_text
        return lambda text: self._send_bytes(descriptor, text.encode(self.encoding, errors="replace"))

    def _send_text(self, text: str) -> None:
        self._stream.write(text.encode(errors="replace").decode())  # half surrogates of an API
        self._stream.flush()
        self._written += len(text)

    def _send_bytes(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = os.write(descriptor, view[:CHUNK])
            except BlockingIOError:  # somebody else made it so that a write does not wait
                select.select([], [descriptor], [])
                continue
            self._written += count
            view = view[count:]

    @property
    def pending(self) -> bool:
        """Whether something waits for the reader. Takes no lock: a signal handler may ask."""
        return not self._broken and (self._writing or bool(self._waiting))

    @property
    def broken(self) -> bool:
        """Whether the stream takes nothing any more: it is closed, or its reader has gone."""
        return self._broken

    def drain(self, seconds: float, patience: float) -> bool:
        """Wait until all is written, `seconds` at most, and no longer than `patience` (seconds) where nothing is read.

        Returns whether all was written.
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
        """Give the thread a moment before the process ends at once. Takes no lock: a signal handler may call it."""
        end = time.monotonic() + seconds
        while self.pending and time.monotonic() < end:
            time.sleep(0.002)

    def flush(self) -> None:
        """Nothing to do: text goes out as fast as it is read."""

    def writelines(self, lines: Iterable[str]) -> None:
        """Take each line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor underneath."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding or "utf-8"

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stream.closed
