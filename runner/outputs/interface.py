"""The interface of an output: one way to show a run, such as a log, a file or a push. One module per kind.

A further output is a module with a class derived from `Output`, its line in `kinds.py` and its settings. In another
package, it is the same class under the entry point group `sync_runner.outputs`, enabled by the settings as
`outputs.NAME`; its own settings are `context.settings.outputs[NAME]`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from runner.clock import Clock
from runner.errors import SecretError
from runner.events import events
from runner.events.observer import Deferred, Listener, Observer, Record
from runner.events.redaction import Redactor
from runner.frozen import Frozen
from runner.models import RunResult
from runner.outputs.stream import QueuedStream
from runner.secrets.reader import SecretReader
from runner.settings import Settings

if TYPE_CHECKING:
    from runner.outputs.metrics import MetricsListener
    from runner.outputs.report_model import Report


def _metrics() -> "MetricsListener":
    from runner.outputs.metrics import MetricsListener

    return MetricsListener()


@dataclass(slots=True)
class OutputContext:
    """What every output can use.

    `stdout` and `stderr` take text without secrets and never wait. `write_line` writes a log line to standard error; a live
    view there replaces it by its own. `whole_run` is false for commands that run no sync.
    """

    settings: Settings
    clock: Clock
    run_id: str
    environment: Mapping[str, str]
    observer: Observer
    redactor: Redactor
    stdout: QueuedStream
    stderr: QueuedStream
    whole_run: bool = True
    write_line: Callable[[str], object] | None = None
    metrics: Deferred["MetricsListener"] = field(default_factory=lambda: Deferred(_metrics))

    def failed(self, target: str, problem: str) -> None:
        """Logs that something could not be delivered. The run continues."""
        self.observer.emit(events.EmitFailed(target, problem))

    def line(self, text: str) -> None:
        """Writes a log line to standard error."""
        (self.write_line or self.stderr.write)(text)

    def secret(self, path: Path | None) -> str | None:
        """Returns the secret in the file, redacted from now on; None where it is unusable: the syncs have priority."""
        if path is None:
            return None
        reader = SecretReader(
            path.parent,
            environment={},
            warn=lambda name, warning: self.observer.emit(events.SecretWarning(name, warning)),
        )
        try:
            secret = reader.require(path.name)
        except SecretError as error:
            self.failed(path.name, str(error))
            return None
        self.redactor.add(secret)
        return secret


class Ended(Frozen):
    """A run that ended: its result, and its report, which contains no secrets."""

    result: RunResult
    report: "Report"


class Output:
    """One output. Every step does nothing by default; none raises for a fault outside the runner.

    The order is: `open`, then `take` and `load` during the run, then `end`, `write` of all, `push` of all, `close`.
    """

    name: ClassVar[str]  # the name in logged errors
    every_command: ClassVar[bool] = False  # also for commands that run no sync
    uses_metrics: ClassVar[bool] = False  # needs `context.metrics`
    checked: ClassVar[str] = "can be written"  # the result of `check` without an error

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Whether it takes part, where a setting enables it (`kinds.py`)."""
        return True

    def __init__(self, context: OutputContext) -> None:
        """Opens nothing yet. Raises UsageError for settings that contradict each other."""
        self.context = context

    def check(self, seconds: float) -> str | None:
        """Checks, for the command `check`, what can be checked without doing it. Returns the error, or None."""
        return None

    def open(self) -> None:
        """Starts with the command: opens what is needed before anything is sent."""

    @property
    def listener(self) -> Listener | None:
        """Returns the listener for events; None where there is none."""
        return self.take if type(self).take is not Output.take else None

    def take(self, record: Record) -> None:
        """Handles an event, without delay."""

    def load(self) -> None:
        """Loads what the first request does not need: called while its response is pending, and again at the end."""

    def end(self, ended: Ended) -> None:
        """Handles the end of the run before anything is written, without delay."""

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes to this machine, on a thread, within this many seconds. Returns the error, or None."""

    @property
    def push_seconds(self) -> float | None:
        """Longest time for `push`; None: there is nothing to push."""
        return None

    @property
    def where(self) -> str:
        """The destination of a push, for messages; empty where the address may be a secret."""
        return ""

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Sends over the network, on a thread that is abandoned after this many seconds. Returns the error, or None."""

    def close(self) -> None:
        """Stops what was started, at the end of the command."""
