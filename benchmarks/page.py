"""docs/performance.md from what was measured."""

from typing import Any


def text(found: dict[str, Any]) -> str:
    """The whole page."""
    return ""
