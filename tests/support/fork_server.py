"""The process that `tests.support.forked` starts: it imports the runner, then forks for each command line it is asked for."""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pydantic

import runner

# What the runner's libraries import when they are used.
LATE = ("anyio._backends._asyncio", "certifi", "httpcore", "jmespath", "psycopg", "pyotp")


def _prepare() -> None:
    """Import all that a command may import. Nothing is run."""
    for name in LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(runner.__path__, "runner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for model in _models(pydantic.BaseModel):
        if model.__module__.startswith("runner."):
            model.model_rebuild()  # what `defer_build` leaves to the first use
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page


def _models(of: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    for model in of.__subclasses__():
        yield model
        yield from _models(model)


def _asked(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next command line and its standard streams; None at the end."""
    header, streams, _flags, _address = socket.recv_fds(channel, 4, 3)
    if not header:
        return None
    length, raw = int.from_bytes(header, "big"), b""
    while len(raw) < length:
        raw += channel.recv(length - len(raw))
    return json.loads(raw), streams


def _forked(channel: socket.socket) -> bool:
    """Forks a process whose parent ends at once, then tells its pid. True in the new process."""
    told, tells = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid == 0:
            return True
        os.write(tells, pid.to_bytes(4, "big"))
        os._exit(0)
    os.waitpid(between, 0)
    channel.sendall(os.read(told, 4))
    os.close(told)
    os.close(tells)
    return False


def _inherit(ignored: list[int], blocked: list[int]) -> None:
    """Ignore and block these signals and no others, but for those that Python ignores."""
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Run the command line, with its own streams, directory, environment and arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    _inherit(asked["ignored"], asked["blocked"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["runner", *asked["words"]]
    try:
        runpy.run_module("runner", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        _end(ended.code)


def _end(code: int) -> None:
    """As Python ends, but frees nothing: in a fork that copies most pages, 75 ms of CPU time."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if not stream.closed:
                stream.flush()
        except OSError:
            code = 120
    os._exit(code)


def main() -> None:
    """Serve until the other end is closed."""
    _prepare()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        while (found := _asked(channel)) is not None:
            asked, streams = found
            if _forked(channel):
                channel.detach()
                break
            for stream in streams:
                os.close(stream)
        else:
            return
    _become(asked, streams)


if __name__ == "__main__":
    main()
