"""Reads the source file of a draft: JSON or YAML, within size limits."""

import json
from pathlib import Path
from typing import Any

from runner.errors import UsageError

MAX_BYTES = 64 << 20  # GitHub's description has 12 MB, and a recording contains every response


def read(path: Path) -> dict[str, Any]:
    """Returns the document. Raises UsageError for one that is unreadable, too large, or not a mapping."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give an OpenAPI document or a HAR file") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES >> 20} MiB; give a part of it")
    data = _decoded(raw, path)
    if not isinstance(data, dict) or not {"openapi", "swagger", "log"} & data.keys():
        raise UsageError(f"{path}: neither an OpenAPI document (`openapi`, `swagger`) nor a HAR file (`log`)")
    return data


def _decoded(raw: bytes, path: Path) -> Any:
    if raw.lstrip()[:1] == b"{":
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise UsageError(f"{path}: starts as JSON but is invalid") from None
    import yaml

    try:
        return yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError):
        raise UsageError(f"{path}: neither JSON nor YAML") from None
