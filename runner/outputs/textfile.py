"""A file for the node exporter, written at the end of the run."""

from pathlib import Path
from typing import ClassVar

from runner.outputs.files import check_file, write_file
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.metrics import MetricsListener


class Textfile(Output):
    """`metrics.textfile`: last successes that are in it already are kept."""

    name: ClassVar[str] = "textfile"
    uses_metrics: ClassVar[bool] = True

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Where `metrics.textfile` is set."""
        return context.settings.metrics.textfile is not None

    def load(self) -> None:
        """Load what makes the metrics."""
        self.context.metrics.load()

    def check(self, seconds: float) -> str | None:
        """Whether the file can be written."""
        path = self.context.settings.metrics.textfile
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Write it whole."""
        path = self.context.settings.metrics.textfile
        return write_textfile(self.context.metrics.load(), path, seconds) if path else None


def write_textfile(metrics: MetricsListener, path: Path, seconds: float) -> str | None:
    """Write the metrics, with the last successes that are there already. Returns what went wrong, or None."""
    try:
        older = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}), so it is not replaced: it holds the last successes"
    return write_file(path, metrics.text(older), seconds)
