"""Writes a file for the node exporter at the end of the run."""

from pathlib import Path
from typing import ClassVar

from runner.outputs.files import check_file, write_file
from runner.outputs.interface import Ended, Output
from runner.outputs.metrics import MetricsListener


class Textfile(Output):
    """`metrics.textfile`: keeps the last successes that are already in it."""

    name: ClassVar[str] = "textfile"
    uses_metrics: ClassVar[bool] = True

    def load(self) -> None:
        """Loads the metrics modules."""
        self.context.metrics.load()

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.metrics.textfile
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file."""
        path = self.context.settings.metrics.textfile
        return write_textfile(self.context.metrics.load(), path, seconds) if path else None


def write_textfile(metrics: MetricsListener, path: Path, seconds: float) -> str | None:
    """Writes the metrics, with the existing last successes. Returns the error, or None."""
    try:
        older = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}), so it is not replaced: it contains the last successes"
    return write_file(path, metrics.text(older), seconds)
