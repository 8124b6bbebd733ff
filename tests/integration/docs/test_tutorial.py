"""The tutorial on writing a profile is true: its blocks are run in order, and print what it shows."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
TUTORIAL = (ROOT / "docs" / "profiles" / "writing.md").read_text(encoding="utf-8")
END_OF_BLOCK = "--- end of block ---"


def _blocks(page: str) -> list[tuple[str, str]]:
    """Each fenced block: its language and its text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def _run(scripts: list[str], home: Path) -> list[str]:
    """What each script prints, all in one shell, as on a terminal."""
    (home / "docs").symlink_to(ROOT / "docs")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "".join(f"{one}echo '{END_OF_BLOCK}'\n" for one in scripts)
    ended = subprocess.run(
        ["bash", "-c", script], cwd=home, env={**os.environ, "PATH": path, "SYNC_RUNNER_LOG__FORMAT": "console"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240,
    )  # fmt: skip
    return ended.stdout.split(f"{END_OF_BLOCK}\n")


def _fits(shown: str, printed: str) -> bool:
    """Whether `printed` is what is shown; `...` stands for anything, and a line of it for any lines."""
    pattern = ".*?".join(re.escape(part) for part in shown.rstrip().split("..."))
    return re.fullmatch(pattern, printed.rstrip(), re.DOTALL) is not None


def test_the_tutorials_blocks_print_what_it_shows(tmp_path: Path) -> None:
    page = TUTORIAL.replace("bakery.py &", f"bakery.py {(port := free_port())} &").replace(":8765", f":{port}")
    blocks = _blocks(page)
    assert {language for language, _text in blocks} == {"sh", "text"}
    printed = iter(_run([text for language, text in blocks if language == "sh"], tmp_path))
    for (language, text), (after, shown) in pairwise([*blocks, ("", "")]):
        if language == "sh":
            said = next(printed)
            expected = shown if after == "text" else ""
            assert _fits(expected, said), f"{text}\nshows:\n{expected}\nprints:\n{said}"
    assert [*printed] == [""]


def test_another_output_is_found_out() -> None:
    assert _fits("exit code 6\n", "exit code 6\n")
    assert _fits("... exit_code=6 ...\nexit code 6\n", "many\nlines exit_code=6 and\nmore\nexit code 6\n")
    assert not _fits("exit code 6\n", "exit code 0\n")
    assert not _fits("", "something\n")
    assert not _fits("... result=completed ...\n", "12:00 result=failed x\n")
