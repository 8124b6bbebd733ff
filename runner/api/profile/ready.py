"""The built-in profiles as JSON, ready to be read without YAML; `make docs` writes them.

The YAML files are the profiles; each JSON file tells which text it was made of, and counts for no other. Loading PyYAML
and reading a profile takes a tenth of a start.
"""

import hashlib
import json
from pathlib import Path

from runner import document
from runner.document import Document


def read(path: Path) -> Document:
    """The document of a built-in profile's YAML file, from the JSON beside it where that was made of the same text."""
    try:
        made = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return document.read(path)
    return Document(str(path), made["profile"], {}) if made["made_of"] == _fingerprint(path) else document.read(path)


def text(path: Path) -> str:
    """What stands in the JSON beside the YAML file."""
    return json.dumps({"made_of": _fingerprint(path), "profile": document.read(path).data}, indent=1) + "\n"


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(directory: Path) -> None:
    """The JSON of every profile in the directory."""
    for path in directory.glob("*.yaml"):
        path.with_suffix(".json").write_text(text(path), encoding="utf-8")
