"""Writes the results of jobs to files for later steps: GitLab's dotenv report, the XCom of a pod."""

import json
from pathlib import Path
from typing import ClassVar

from runner.outputs.files import check_file, write_file
from runner.outputs.interface import Ended, Output, OutputContext
from runner.reading import in_time


class Dotenv(Output):
    """`report.dotenv`: a file."""

    name: ClassVar[str] = "dotenv"

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.dotenv
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file; reports what does not fit the format."""
        from runner.outputs.results import dotenv

        path = self.context.settings.report.dotenv
        if path is None:
            return None
        text, left_out = dotenv(ended.report)
        problem = write_file(path, text, seconds)
        return problem or (
            f"{path}: without {', '.join(left_out)[:500]}, which the format does not support" if left_out else None
        )


class XCom(Output):
    """`report.xcom`: a pod's result for the task that started it (`do_xcom_push`)."""

    name: ClassVar[str] = "xcom"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Enabled where the sidecar's directory exists, or another path is set."""
        path = context.settings.report.xcom
        return path is not None and _there(path)

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.xcom
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file."""
        from runner.outputs.results import document

        path = self.context.settings.report.xcom
        return write_file(path, json.dumps(document(ended.report)) + "\n", seconds) if path else None


def _there(path: Path) -> bool:
    try:
        return in_time(path.parent.is_dir)
    except OSError:
        return False
