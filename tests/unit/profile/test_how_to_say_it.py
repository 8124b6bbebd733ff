"""Each block of docs/profiles/how-to-say-it.md is a part of a valid profile, and says something that the profile has without it not."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import profile as profiles
from runner.yaml_source import Document

PAGE = Path("docs/profiles/how-to-say-it.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WHOLE: dict[str, Any] = {
    "version": 1,
    "description": "An API",
    "parameters": {"realm": {"type": "string", "default": "main"}},
    "auth": {
        "secrets": ["username", "password"],
        "steps": {
            "one": {
                "request": {"method": "POST", "path": "/login", "json": {"by": "${basic}"}},
                "answers": [{"status": 200, "then": "done"}],
            }
        },
        "session": {"access_token": "token"},
    },
    "jobs": {
        "trigger": {"request": {"method": "POST", "path": "/jobs", "headers": {"X-Realm": "${params.realm}"}}},
        "status": {"request": {"path": "/jobs/${job_id}"}},
    },
}


def _merged(whole: Any, part: Any) -> Any:
    """`part` in `whole`; steps of a login come as a whole."""
    if not isinstance(whole, dict) or not isinstance(part, dict):
        return part
    found = dict(whole)
    for key, value in part.items():
        found[key] = value if key == "steps" else _merged(whole.get(key), value)
    return found


def test_there_are_blocks_for_every_gap() -> None:
    assert len(BLOCKS) >= 19


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split())[:60])
def test_every_block_is_a_part_of_a_valid_profile(block: str) -> None:
    part = yaml.safe_load(block)
    merged = _merged(WHOLE, part)
    read = profiles.parse(Document("a profile", merged, {}))
    assert read != profiles.parse(Document("a profile", WHOLE, {}))


@pytest.mark.parametrize("file", sorted(Path("docs/examples/profiles").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_is_valid(file: Path) -> None:
    profiles.load(str(file))
