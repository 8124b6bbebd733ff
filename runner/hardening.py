"""Protects this process's memory, and the secrets in it: no core dump, no access by other processes of its user."""

import contextlib

_PR_SET_DUMPABLE = 4  # prctl(2), Linux


def seal_process() -> None:
    """Disables core dumps, and on Linux tracing and access to /proc/PID/mem, environ or maps by other processes.

    Where the platform has no such call, or forbids it, the run continues without it.
    """
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
