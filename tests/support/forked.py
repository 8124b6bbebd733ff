"""Starts the command line as a fork of a process that has imported it: most of a start's CPU time is imports.

The fork is a process as any other: own pid, arguments, environment, directory, streams, signals and end. What belongs to the
start of Python itself (PYTHON*, locale, LD_*, coverage) is not its to change: with such variables Python is started anew.
"""
# Decision 0169.

import atexit
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OF_PYTHON = ("PYTHON", "LANG", "LC_", "LD_", "TZ", "MALLOC_", "GLIBC_", "OPENSSL_", "COVERAGE_", "PYDANTIC_")
PR_SET_CHILD_SUBREAPER = 36


def start(words: Sequence[str], env: Mapping[str, str], **more: Any) -> "subprocess.Popen[Any]":
    """`python -m runner WORDS`; `more` as for Popen: streams, `text`, `cwd`."""
    command = [sys.executable, "-m", "runner", *words]
    if sys.platform != "linux" or of_python(env) != of_python(os.environ) or of_python(env, "COVERAGE_"):
        return subprocess.Popen(command, env=env, **more)
    return _Forked(command, env=env, **more)


def run(
    words: Sequence[str], env: Mapping[str, str], timeout: float = 60.0, **more: Any
) -> "subprocess.CompletedProcess[str]":
    """`python -m runner WORDS` to its end, which is to come within `timeout` seconds, with all that it wrote."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start(words, env, **pipes, **more) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def of_python(env: Mapping[str, str], names: str | tuple[str, ...] = OF_PYTHON) -> dict[str, str]:
    """The variables that Python reads when it starts."""
    return {name: value for name, value in env.items() if name.startswith(names)}


def _signals() -> dict[str, Sequence[int]]:
    """The signals that this process ignores or blocks, as a new process inherits them; SIGPIPE and SIGXFSZ are Python's."""
    of_python = (signal.SIGPIPE, signal.SIGXFSZ)
    ignored = [
        one for one in signal.valid_signals() if signal.getsignal(one) is signal.SIG_IGN and one not in of_python
    ]
    return {"ignored": ignored, "blocked": [*signal.pthread_sigmask(signal.SIG_BLOCK, [])]}


class _Forked(subprocess.Popen[Any]):
    """A process that `_Prepared` forks in place of Popen's own fork and exec. It becomes a child of this process."""

    _child_created: bool
    _close_pipe_fds: Any

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any,
        startupinfo: Any, creationflags: Any, shell: Any, *pipes_and_more: Any,
    ) -> None:  # fmt: skip
        pipes = pipes_and_more[:6]
        streams = [given if given != -1 else number for number, given in enumerate((pipes[0], pipes[3], pipes[5]))]
        asked = {"words": args[3:], "env": dict(env), "cwd": str(cwd or Path.cwd()), **_signals()}
        try:
            self.pid = _Prepared.of_this_process().fork(asked, streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)


class _Prepared:
    """The process that has imported the runner and forks. It ends with the process that started it."""

    _only: "_Prepared | None" = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._channel, theirs = socket.socketpair()
        # Started from the project's directory: a test may be in another one.
        command = [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL)
        atexit.register(self._end)

    @classmethod
    def of_this_process(cls) -> "_Prepared":
        """The one of this process, started by the first who asks for it."""
        with cls._lock:
            if cls._only is None or cls._only.owner != os.getpid():
                cls._only = cls()
            return cls._only

    def _end(self) -> None:
        if self.owner == os.getpid():
            self._channel.close()
            self._process.wait()

    def fork(self, asked: Mapping[str, Any], streams: Sequence[int]) -> int:
        """The pid of a new child of this process."""
        message = json.dumps(asked).encode()
        with self._lock:
            # The new process's parent ends at once, and this process takes its place.
            _adopt(1)
            try:
                socket.send_fds(self._channel, [len(message).to_bytes(4, "big")], streams)
                self._channel.sendall(message)
                told = self._channel.recv(4)
            finally:
                _adopt(0)
        if len(told) != 4:
            raise OSError("the process that forks the command line has ended")
        return int.from_bytes(told, "big")


def _adopt(whether: int) -> None:
    """Whether this process becomes the parent of its descendants' orphans (Linux, prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, whether, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
