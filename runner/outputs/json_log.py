"""The log for programs: one JSON object a line on standard error."""

from collections.abc import Sequence
from typing import Any, ClassVar

from runner.outputs.interface import OutputContext
from runner.outputs.log_lines import LogOutput, Processor


class JsonLog(LogOutput):
    """JSON lines; `docs/events.schema.json` describes them."""

    name: ClassVar[str] = "json log"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """By itself where nobody looks at a terminal."""
        log = context.settings.log
        return log.format == "json" or (log.format == "auto" and not context.stderr.isatty())

    def steps(self) -> Sequence[Processor]:
        """JSON, safe for every CI system."""
        from structlog.processors import JSONRenderer

        return JSONRenderer(), without_commands


def without_commands(_logger: Any, _level: str, line: Any) -> Any:
    """The line as other JSON of the same meaning: Azure Pipelines and TeamCity obey `##` and a word anywhere in a line."""
    return line.replace("##", "#\\u0023")
