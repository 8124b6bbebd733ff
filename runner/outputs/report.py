"""The JSON report: to a file, or to standard output."""

import json
from pathlib import Path
from typing import ClassVar

from runner.outputs.files import check_file, resolved, write_file
from runner.outputs.interface import Ended, Output
from runner.outputs.report_model import Report, plain

_OWN_STREAMS = {1: "stdout", 2: "stderr"}


class JsonReport(Output):
    """`report.file`: a file, or `-` for standard output; `docs/report.schema.json` describes it."""

    name: ClassVar[str] = "report"

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.file
        return None if path in (None, "-") else check_file(Path(path))

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file. Standard output has no time limit here: its reader may be slow."""
        target, text = self.context.settings.report.file or "", as_text(ended.report)
        stream = "stdout" if target == "-" else self._own_stream(target)
        if stream is None:
            return write_file(Path(target), text, seconds)
        getattr(self.context, stream).write(text)
        return None

    @staticmethod
    def _own_stream(target: str) -> str | None:
        """Returns which of our streams the file is, such as `/dev/stdout`."""
        try:
            found = resolved(Path(target))
        except OSError:
            return None  # reported when it is written
        return _OWN_STREAMS.get(found) if isinstance(found, int) else None


def as_text(report: Report) -> str:
    """Returns the report as JSON. Azure Pipelines and TeamCity execute `##` and a word in a step's output."""
    return json.dumps(plain(report), indent=2).replace("##", "#\\u0023") + "\n"
