"""The completion scripts, in the shells that they are for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import need

BASH = """
source <(sync-runner completion bash)
COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDS=($1)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete sync-runner "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -U compinit; compinit -u -D; source <(sync-runner completion zsh); print READ''Y'
zpty -r shell begun '*READY*'
zpty -w -n shell "$1"$'\\t'
zpty -r shell shown "*$2*"
print -r -- $shown
"""
FISH = "sync-runner completion fish | source; complete -C $argv[1]"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sync-runner dem", "demo"),
        ("sync-runner conf", "config"),
        ("sync-runner run --sta", "--start"),
        ("sync-runner config sch", "schema"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell: str, line: str, offered: str, tmp_path: Path) -> None:
    words = {"bash": ["-c", BASH, "bash"], "zsh": ["-f", "-c", ZSH, "zsh"], "fish": ["-c", FISH]}[shell]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    asked = [need(shell), *words, line, offered]
    ended = subprocess.run(
        asked,
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "xterm"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert offered in ended.stdout, ended.stderr
