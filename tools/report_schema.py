"""Writes `docs/report.schema.json` from the report's classes: `python -m tools.report_schema docs`."""

import json
import sys
from pathlib import Path

from runner.outputs.report_model import schema


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1], "report.schema.json").write_text(text(), encoding="utf-8")
