"""One process measured from outside: time, CPU, peak memory, open files. Only Python's own library, so that it is small."""

import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measured:
    """A process that has ended. Times in seconds, memory in MiB; `began` and `ended` are Unix seconds."""

    began: float
    ended: float
    cpu: float
    memory: float
    files: int

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.ended - self.began


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None, *, files: bool = False) -> Measured:
    """Run to the end. Raises RuntimeError with its last words where it fails."""
    redact = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "PYTHON"))}
    began = time.time()
    process = subprocess.Popen(
        command, env={**redact, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    words: list[bytes] = []
    reader = threading.Thread(target=lambda: words.extend(process.stderr or ()), daemon=True)
    reader.start()
    seen = [0]
    over = threading.Event()
    if files:
        threading.Thread(target=_count_files, args=(process.pid, seen, over), daemon=True).start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    ended = time.time()
    over.set()
    _, status, usage = os.wait4(process.pid, 0)
    reader.join(5.0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} left with {process.returncode}: {b''.join(words[-5:]).decode()}")
    return Measured(began, ended, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, max(seen))


def _count_files(pid: int, seen: list[int], over: threading.Event) -> None:
    """Note the number of the process's open files, twice a second until it is `over`."""
    while not over.wait(0.5):
        with contextlib.suppress(OSError):  # it has just ended
            seen.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    several = values if len(values) > 1 else [*values, *values]  # one value is its own quartiles
    low, median, high = statistics.quantiles(several, n=4, method="inclusive")
    return Spread(median, low, high)
