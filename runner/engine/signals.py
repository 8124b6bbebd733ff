"""SIGTERM, SIGINT and SIGHUP from the process's first moment until a run obeys them; which of them came first.

As PID 1, a process without a handler ignores SIGTERM: so it is noted from the start, and a run that begins later obeys
it then, with report and metrics. Commands that leave nothing behind end at once.
"""
# Decision 0026.

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
last_words: list[Callable[[], None]] = []  # what gives the log a moment; each bounds itself, and takes no lock
_noted: list[signal.Signals] = []


def code(number: int) -> int:
    """The exit code after a signal: 128 and its number, but that of SIGTERM for SIGHUP (decision 0062)."""
    return 128 + (signal.SIGTERM if number == signal.SIGHUP else number)


def heeded() -> tuple[signal.Signals, ...]:
    """The signals that are obeyed: not a SIGHUP that `nohup` has this process ignore."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in NUMBERS if not (ignored and number == signal.SIGHUP))


def listen() -> None:
    """Note signals from here on. What a parent has blocked until now, so that it is not lost, comes in here."""
    for number in heeded():
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def noted() -> signal.Signals | None:
    """The signal that came before the run could obey it."""
    return _noted[0] if _noted else None


def leave_at_once(number: int) -> NoReturn:
    """End the process by this signal's code, with nothing but the last log lines."""
    for speak in last_words:
        speak()
    os._exit(code(number))


def unwind() -> None:
    """From here on a signal ends the command; one that was noted does so now. Raises SystemExit."""
    for number in heeded():
        signal.signal(number, _leave)
    if _noted:
        raise SystemExit(code(_noted[0]))


def _note(number: int, _frame: FrameType | None) -> None:
    if _noted:
        leave_at_once(number)  # the second one
    _noted.append(signal.Signals(number))


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind; but leave at once from within an import, which may turn the exception into another one (pydantic's does)."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            leave_at_once(number)
        frame = frame.f_back
    raise SystemExit(code(number))
