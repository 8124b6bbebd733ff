"""Serves `/metrics` during the run."""

import contextlib
from typing import ClassVar

from runner.outputs.interface import Output, OutputContext


class Endpoint(Output):
    """`metrics.listen`: prometheus_client's server on a thread, in the text format or OpenMetrics as the scraper asks."""

    name: ClassVar[str] = "metrics endpoint"
    checked: ClassVar[str] = "can be served"
    uses_metrics: ClassVar[bool] = True

    def __init__(self, context: OutputContext) -> None:
        """Does not listen yet."""
        super().__init__(context)
        self._opened = False
        self._stop = contextlib.ExitStack()

    def check(self, seconds: float) -> str | None:
        """Serves for a moment."""
        problem = self._serve(self.context.settings.metrics.listen or "")
        self.close()
        return problem

    def load(self) -> None:
        """Starts serving."""
        if self._opened:
            return
        self._opened = True
        problem = self._serve(self.context.settings.metrics.listen or "")
        if problem:
            self.context.failed(self.name, problem)

    def _serve(self, listen: str) -> str | None:
        from prometheus_client import CollectorRegistry, start_http_server

        both = CollectorRegistry(auto_describe=True)
        metrics = self.context.metrics.load()
        for one in (metrics.of_run, metrics.of_success):
            both.register(one)
        host, _, port = listen.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]") or "0.0.0.0", registry=both)
        except (OSError, OverflowError, UnicodeError) as error:
            return f"{listen}: cannot listen ({getattr(error, 'strerror', None) or 'no such address'})"
        self._stop.callback(thread.join, 1.0)
        self._stop.callback(server.server_close)
        self._stop.callback(server.shutdown)
        return None

    def close(self) -> None:
        """Stops serving."""
        self._stop.close()
