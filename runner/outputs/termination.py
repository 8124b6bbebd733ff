"""Writes Kubernetes' termination message: one line for `kubectl describe pod`, and the results of jobs below it."""

from typing import ClassVar

from runner.outputs.files import check_file, write_in_place
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.summary import one_line
from runner.reading import in_time


class TerminationMessage(Output):
    """`report.termination_log`: written only where the file exists, as Kubernetes mounts it."""

    name: ClassVar[str] = "termination log"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Enabled where the file exists."""
        path = context.settings.report.termination_log
        try:
            return path is not None and in_time(path.exists)
        except OSError:
            return True  # reported when it is written

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.termination_log
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes in place: Kubernetes mounts the file itself, which cannot be replaced."""
        path = self.context.settings.report.termination_log
        if path is None:
            return None
        text = one_line(ended.report)
        if any(one.results for one in ended.report.syncs):
            from runner.outputs.results import termination

            text = termination(text, ended.report)
        return write_in_place(path, text, seconds)
