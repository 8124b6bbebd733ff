"""The event loop of a run: asyncio's, but with name look-ups that can be left behind.

asyncio looks names up on threads of a pool, and waits for them before the process may end: a resolver that hangs would
hold up deadline, signal and exit for as long as it likes (`options timeout` times `attempts` times servers).
"""
# Decision 0027.

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

from runner.threads import begun

T = TypeVar("T")


def complete(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, run to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


class Loop(asyncio.SelectorEventLoop):
    """Looks each name up on a daemon thread of its own."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        return await begun(lambda: socket.getaddrinfo(host, port, **options), "resolver")
