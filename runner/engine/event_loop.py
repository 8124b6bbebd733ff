"""The event loop of a run: asyncio's, but with name look-ups that can be left behind.

asyncio looks names up on threads of a pool, and waits for them before the process may end: a resolver that hangs would
hold up deadline, signal and exit for as long as it likes (`options timeout` times `attempts` times servers).
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def complete(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, run to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


class Loop(asyncio.SelectorEventLoop):
    """Looks each name up on a daemon thread of its own."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        found: asyncio.Future[Any] = self.create_future()

        def poll() -> None:
            try:
                addresses = socket.getaddrinfo(host, port, **options)
            except (OSError, UnicodeError) as error:
                self._tell(found, found.set_exception, error)
            else:
                self._tell(found, found.set_result, addresses)

        threading.Thread(target=poll, name="resolver", daemon=True).start()
        return await found

    def _tell(self, found: "asyncio.Future[Any]", settle: Callable[[Any], None], value: object) -> None:
        """From the thread; nobody may be waiting any more."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(lambda: None if found.done() else settle(value))
