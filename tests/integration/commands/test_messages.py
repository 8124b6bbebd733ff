"""Each of sixty mistakes gets the message that docs/messages.md shows."""

import os
import subprocess
from pathlib import Path

from tests.support import forked
from tools import messages


def _run(words: list[str], variables: dict[str, str], directory: Path) -> tuple[int, str]:
    known = forked.of_python(os.environ) | variables
    ended = forked.run(words, known, timeout=120, cwd=directory, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stderr


def test_every_mistake_gets_the_message_of_the_page() -> None:
    assert len([mistake for group in messages.MISTAKES.values() for mistake in group]) >= 60
    assert messages.PAGE.read_text(encoding="utf-8") == messages.page(_run), "run `make docs`"
