"""The event loop of a run: asyncio's, but with name look-ups that can be abandoned.

asyncio resolves names on threads of a pool and waits for them before the process can exit: a hanging resolver would
delay deadline, signal and exit by `options timeout` times `attempts` times servers.
"""
# Decision 0027.

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

from runner.threads import begun

T = TypeVar("T")


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on a separate event loop and returns its result."""
    with closing(work), asyncio.Runner(loop_factory=Loop) as runner:  # closed where there is no loop to run it
        return runner.run(work)


class Loop(asyncio.SelectorEventLoop):
    """Resolves each name on a separate daemon thread."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        return await begun(lambda: socket.getaddrinfo(host, port, **options), "resolver")
