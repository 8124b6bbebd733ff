"""What an output is: one way in which a run shows itself, such as a log, a file or a push. One module for each kind.

One more output is one more module with a class derived from `Output`, its line in `kinds.py` and its settings. From outside
the package it is the same class, under the entry point group `sync_runner.outputs`, chosen by the settings as
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
    """What every output gets from outside.

    `stdout` and `stderr` take text that holds no secret any more, and never wait. `write_line` puts a log line on standard
    error; where a live view is drawn there, it is the view's own. `whole_run` is false for commands that run no sync.
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
        """Log that something could not be delivered. The run goes on."""
        self.observer.emit(events.EmitFailed(target, problem))

    def line(self, text: str) -> None:
        """Put a log line on standard error."""
        (self.write_line or self.stderr.write)(text)

    def secret(self, path: Path | None) -> str | None:
        """The secret in the file, redacted from now on; None where it is unfit: the syncs matter more than who is told."""
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
    """A run that is over: its result, and the report of it, which holds no secret any more."""

    result: RunResult
    report: "Report"


class Output:
    """One output. Every step does nothing unless a kind says otherwise; none raises for a fault outside the runner.

    The order is: `open`, then `take` and `load` while the run lasts, then `end`, `write` of all, `push` of all, `close`.
    """

    name: ClassVar[str]  # what a fault is logged under
    every_command: ClassVar[bool] = False  # also for commands that run no sync
    uses_metrics: ClassVar[bool] = False  # needs `context.metrics`
    checked: ClassVar[str] = "can be written"  # what `check` found out, where nothing is wrong

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Whether the settings ask for it."""
        raise NotImplementedError

    def __init__(self, context: OutputContext) -> None:
        """Nothing is opened yet. Raises UsageError for settings that do not fit each other."""
        self.context = context

    def check(self, seconds: float) -> str | None:
        """Try, for the command `check`, what can be tried without doing it. Returns what is wrong, or None."""
        return None

    def open(self) -> None:
        """The command begins: take what is needed before anything is sent."""

    @property
    def listener(self) -> Listener | None:
        """What takes events while the command lasts; None where none is wanted."""
        return self.take if type(self).take is not Output.take else None

    def take(self, record: Record) -> None:
        """Take an event, in no time."""

    def load(self) -> None:
        """Load what the first request does not need: called while its response is awaited, and again at the end."""

    def end(self, ended: Ended) -> None:
        """The run is over: what takes no time, before anything is written."""

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Write to this machine, on a thread, within so many seconds. Returns what went wrong, or None."""

    @property
    def push_seconds(self) -> float | None:
        """How long `push` may take at most; None: there is nothing to push."""
        return None

    @property
    def where(self) -> str:
        """Where it pushes to, for messages; empty where the address may be a secret."""
        return ""

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Send over the network, on a thread that is left behind after so many seconds. Returns what went wrong, or None."""

    def close(self) -> None:
        """The command is over: stop what was started."""
