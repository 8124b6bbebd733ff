"""What keeps this process's memory, and the secrets in it, to itself: no core dump, no reading by others of its user."""

import contextlib

_PR_SET_DUMPABLE = 4  # prctl(2), Linux


def seal_process() -> None:
    """No core dumps from here on, and on Linux no tracing and no /proc/PID/mem, environ or maps for other processes.

    Where the platform has no such call, or forbids it, the run goes on without.
    """
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
