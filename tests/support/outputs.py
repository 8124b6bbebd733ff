"""Outputs by themselves: a context whose streams are kept in memory, and log lines made by the real pipeline."""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runner.clock import SystemClock
from runner.events.observer import Observer, Record
from runner.events.redaction import Redactor
from runner.outputs.interface import OutputContext
from runner.outputs.json_log import JsonLog
from runner.outputs.stream import QueuedStream
from runner.settings import Settings

RUN_ID = "7f1f0a3e-6a2d-4f57-9d55-9d1f6c1f8a11"


class Kept:
    """A context, what it wrote, and the events that its outputs emitted."""

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        secrets: Iterable[str] = (),
        stderr: io.StringIO | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.out, self.err = io.StringIO(), stderr or io.StringIO()
        self.emitted: list[Record] = []
        clock, redactor = SystemClock(), Redactor()
        for secret in secrets:
            redactor.add(secret)
        self.context = OutputContext(
            Settings(base_url="https://x.example", **(settings or {})),
            clock,
            RUN_ID,
            environment or {},
            Observer(clock, [self.emitted.append], {}),
            redactor,
            QueuedStream(self.out),
            QueuedStream(self.err),
        )

    def drain(self) -> None:
        """Wait until all is written."""
        assert self.context.stdout.drain(30, 30)
        assert self.context.stderr.drain(30, 30)


def json_log(write: Callable[[str], object], *, secrets: Iterable[str] = (), **log: Any) -> JsonLog:
    """The JSON log, loaded; its lines go to `write`."""
    kept = Kept({"log": {"level": "debug", **log}}, secrets=secrets)
    kept.context.write_line = write
    made = JsonLog(kept.context)
    made.load()
    return made
