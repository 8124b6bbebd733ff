"""A clock that runner and sandbox share in one process: sleeping moves it on, and nobody waits."""

import asyncio
import time

from runner.sandbox.server import SandboxServer


class LinkedClock:
    """Real time plus what was slept; the sandbox reads it too."""

    def __init__(self, server: SandboxServer | None = None) -> None:
        self.slept: list[float] = []
        self._ahead = 0.0
        if server is not None:
            server.sandbox.clock = self.time

    def time(self) -> float:
        """Unix seconds."""
        return time.time() + self._ahead

    def monotonic(self) -> float:
        """Seconds that never step back."""
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Move on by `seconds` at once."""
        self.slept.append(seconds)
        self._ahead += seconds
        await asyncio.sleep(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for both."""
        self._ahead += seconds
