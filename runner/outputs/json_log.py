"""The log for programs: one JSON object per line on standard error."""

from collections.abc import Sequence
from typing import Any, ClassVar

from runner.outputs.interface import OutputContext
from runner.outputs.log_lines import LogOutput, Processor


class JsonLog(LogOutput):
    """JSON lines; `docs/events.schema.json` describes them."""

    name: ClassVar[str] = "json log"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Enabled by default without a terminal."""
        log = context.settings.log
        return log.format == "json" or (log.format == "auto" and not context.stderr.isatty())

    def steps(self) -> Sequence[Processor]:
        """Returns JSON that is safe for every CI system."""
        from structlog.processors import JSONRenderer

        return JSONRenderer(), without_commands


def without_commands(_logger: Any, _level: str, line: Any) -> Any:
    """Rewrites the line as equivalent JSON: Azure Pipelines and TeamCity execute `##` and a word anywhere in a line."""
    return line.replace("##", "#\\u0023")
