"""Records SIGTERM, SIGINT and SIGHUP from the start of the process until a run handles them.

As PID 1, a process without a handler ignores SIGTERM. So the signal is recorded from the start, and a run that starts
later handles it then, with report and metrics. Other commands exit immediately.
"""
# Decision 0026.

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
last_words: list[Callable[[], None]] = []  # functions that flush the log; each limits its own time and takes no lock
_noted: list[signal.Signals] = []


def code(number: int) -> int:
    """Returns the exit code after a signal: 128 plus its number, but that of SIGTERM for SIGHUP (decision 0062)."""
    return 128 + (signal.SIGTERM if number == signal.SIGHUP else number)


def heeded() -> tuple[signal.Signals, ...]:
    """The signals to handle: not a SIGHUP that `nohup` made this process ignore."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in NUMBERS if not (ignored and number == signal.SIGHUP))


def listen() -> None:
    """Records signals from here on. Delivers a signal that a parent had blocked."""
    for number in heeded():
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def noted() -> signal.Signals | None:
    """Returns the signal that arrived before the run could handle it."""
    return _noted[0] if _noted else None


def leave_at_once(number: int) -> NoReturn:
    """Exits with this signal's code, after flushing the log."""
    for speak in last_words:
        speak()
    os._exit(code(number))


def unwind() -> None:
    """From here on, a signal ends the command; a recorded one does so now. Raises SystemExit."""
    for number in heeded():
        signal.signal(number, _leave)
    if _noted:
        raise SystemExit(code(_noted[0]))


def _note(number: int, _frame: FrameType | None) -> None:
    if _noted:
        leave_at_once(number)  # the second one
    _noted.append(signal.Signals(number))


def _leave(number: int, frame: FrameType | None) -> None:
    """Raises SystemExit; but exits immediately during an import, which may convert the exception (pydantic's does)."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            leave_at_once(number)
        frame = frame.f_back
    raise SystemExit(code(number))
